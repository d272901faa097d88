import { beforeEach, describe, expect, test } from "bun:test";
import type { Gap } from "../../../src/client/gaps.ts";
import { Message } from "../../../src/client/message.ts";
import { ReceivedFds } from "../../../src/client/received-fds.ts";
import { type AnySubscription, Subscription } from "../../../src/client/subscription.ts";
import type { SubscribeOptions } from "../../../src/client/subscription-options.ts";
import { GapError, type LimitError } from "../../../src/errors.ts";
import { duplicateFd } from "../../../src/ffi/owned-fd.ts";
import { ENCODING } from "../../../src/protocol/opcodes.ts";
import { TestFiles } from "../../support/test-files.ts";
import { SENDER } from "./sender-fixture.ts";
import { isOpenFd } from "./simulated-transport.ts";

let unsubscribed: AnySubscription[];
let losses: (number | undefined)[];
let fullness: string[];
const { NONE } = ReceivedFds;
let ends: string[];

beforeEach(() => {
  unsubscribed = [];
  losses = [];
  fullness = [];
  ends = [];
});

function subscription(options: SubscribeOptions = {}): Subscription {
  const host = {
    unsubscribe: async (each: AnySubscription) => void unsubscribed.push(each),
    noteLost: ({ count }: Gap) => void losses.push(count),
    noteFill: (_each: AnySubscription, fill: string) => void fullness.push(fill),
    noteTaken: () => {},
    noteEnded: (_each: AnySubscription, { code }: LimitError) => void ends.push(code),
  };
  return new Subscription("a", host, options);
}

function message(number: number, fds: ReceivedFds = ReceivedFds.NONE, topic = "a"): Message {
  const packet = Uint8Array.of(number);
  return new Message(topic, SENDER, ENCODING.BYTES, packet, 0, 1, fds, 0);
}

/** Fds of a message, open until somebody closes them. */
function receivedFds(count: number): { fds: ReceivedFds; numbers: number[] } {
  using files = new TestFiles(Array.from({ length: count }, () => "text"));
  const numbers = files.fds.map(duplicateFd);
  return { fds: new ReceivedFds([...numbers]), numbers };
}

async function numbersOf(each: Subscription, count: number): Promise<unknown[]> {
  const numbers: unknown[] = [];
  while (numbers.length < count) numbers.push((await each.next()).value.bytes[0]);
  return numbers;
}

describe("Subscription.next()", () => {
  test("gives messages in order, whether it asked first or they came first", async () => {
    const each = subscription();
    const early = [each.next(), each.next()];
    for (let number = 1; number <= 4; number += 1) each.accept(message(number));
    const values = await Promise.all(early);
    expect(values.map(({ value }) => value.bytes[0])).toEqual([1, 2]);
    expect(each.queued).toBe(2);
    expect(await numbersOf(each, 2)).toEqual([3, 4]);
  });

  test("keeps the order over thousands of messages in the queue", async () => {
    const each = subscription();
    for (let number = 0; number < 5_000; number += 1) each.accept(message(number % 251));
    const wanted = Array.from({ length: 5_000 }, (_, index) => index % 251);
    expect(await numbersOf(each, 3_000)).toEqual(wanted.slice(0, 3_000));
    each.accept(message(7));
    expect(await numbersOf(each, 2_001)).toEqual([...wanted.slice(3_000), 7]);
  });

  test("closes the fds of the message before, and not those that were taken", async () => {
    const each = subscription();
    const { fds, numbers } = receivedFds(2);
    each.accept(message(1, fds));
    const { value } = await each.next();
    using taken = value.fds.take(0);
    expect(numbers.map(isOpenFd)).toEqual([true, true]);
    void each.next();
    expect(numbers.map(isOpenFd)).toEqual([true, false]);
    expect(taken.fd).toBe(numbers[0] ?? -1);
  });

  test("gives what is queued before it tells of the end", async () => {
    const each = subscription();
    each.accept(message(1));
    each.end(new Error("gone"));
    expect(await numbersOf(each, 1)).toEqual([1]);
    expect(each.next()).rejects.toThrow("gone");
    expect(await each.next()).toEqual({ done: true, value: undefined });
  });
});

describe("a full queue", () => {
  test("drops what comes, with its fds, and counts it", async () => {
    const each = subscription({ queueMessagesMax: 2 });
    const { fds, numbers } = receivedFds(1);
    for (let number = 1; number <= 2; number += 1) each.accept(message(number));
    each.accept(message(3, fds));
    each.accept(message(4));
    expect(each.lost).toBe(2);
    expect(numbers.map(isOpenFd)).toEqual([false]);
    expect(await numbersOf(each, 2)).toEqual([1, 2]);
    each.end(undefined);
    expect(losses).toEqual([2]);
  });

  test("adds to the losses that the broker tells", () => {
    const each = subscription();
    each.noteGap({ topic: "a", count: 5, reason: "send-queue-full" });
    expect(each.lost).toBe(5);
    expect(losses).toEqual([]);
  });
});

describe("Subscription with overflow", () => {
  const options = { queueMessagesMax: 4, gapErrors: true } as const;

  /** Takes what is there: numbers of messages, and gaps as [reason, count]. */
  async function storyOf(each: Subscription): Promise<unknown[]> {
    each.end(undefined);
    const story: unknown[] = [];
    for (;;) {
      try {
        const { done, value } = await each.next();
        if (done === true) return story;
        story.push(value.bytes[0]);
      } catch (error) {
        if (!(error instanceof GapError)) throw error;
        story.push([error.reason, error.count]);
      }
    }
  }

  test("drop-newest keeps the first and tells the gap behind them", async () => {
    const each = subscription({ ...options, overflow: "drop-newest" });
    for (let number = 1; number <= 6; number += 1) each.accept(message(number));
    expect(await storyOf(each)).toEqual([1, 2, 3, 4, ["subscription-full", 2]]);
    expect(each.lost).toBe(2);
  });

  test("drop-oldest keeps the last and tells the gap before them", async () => {
    const each = subscription({ ...options, overflow: "drop-oldest" });
    for (let number = 1; number <= 6; number += 1) each.accept(message(number));
    expect(await storyOf(each)).toEqual([["oldest-dropped", 2], 3, 4, 5, 6]);
  });

  test("latest-per-topic keeps the newest of each topic and tells the gap before it", async () => {
    const each = subscription({ ...options, overflow: "latest-per-topic" });
    for (const [number, topic] of ["a", "b", "a", "c", "a", "d", "b"].entries()) {
      each.accept(message(number, ReceivedFds.NONE, topic));
    }
    expect(await storyOf(each)).toEqual([3, ["superseded", 2], 4, 5, ["superseded", 1], 6]);
    expect(each.lost).toBe(3);
  });

  test("latest-per-topic drops the oldest where that is not enough", async () => {
    const each = subscription({ ...options, overflow: "latest-per-topic" });
    for (const [number, topic] of ["a", "b", "c", "d", "e", "f"].entries()) {
      each.accept(message(number, ReceivedFds.NONE, topic));
    }
    expect(await storyOf(each)).toEqual([["oldest-dropped", 1], ["oldest-dropped", 1], 2, 3, 4, 5]);
  });

  test("disconnect ends it with LIMIT_SLOW_READER behind what waits", async () => {
    const each = subscription({ ...options, overflow: "disconnect" });
    for (let number = 1; number <= 6; number += 1) each.accept(message(number));
    expect(unsubscribed).toEqual([each]);
    expect(await numbersOf(each, 4)).toEqual([1, 2, 3, 4]);
    expect(each.next()).rejects.toMatchObject({ code: "LIMIT_SLOW_READER", limit: 4 });
  });

  test("block loses nothing, and tells the host to stop and to go on", async () => {
    const each = subscription({ ...options, overflow: "block" });
    for (let number = 1; number <= 6; number += 1) each.accept(message(number));
    expect(fullness).toEqual(["full"]);
    expect(await numbersOf(each, 3)).toEqual([1, 2, 3]);
    expect(fullness).toEqual(["full", "draining"]);
    expect(await storyOf(each)).toEqual([4, 5, 6]);
  });

  test("block says when half of it is read, and when it is full again", async () => {
    const each = subscription({ ...options, overflow: "block" });
    for (let number = 1; number <= 4; number += 1) each.accept(message(number));
    await numbersOf(each, 1);
    each.accept(message(5));
    await numbersOf(each, 2);
    expect(fullness).toEqual(["full", "draining", "full", "draining", "room"]);
  });

  test("block is over its limit where much more comes, until that is read", async () => {
    const each = subscription({ ...options, overflow: "block" });
    const mebibyte = new Uint8Array(1024 * 1024);
    const large = new Message("a", SENDER, ENCODING.BYTES, mebibyte, 0, 1024 * 1024, NONE, 0);
    for (let count = 0; count < 4 + 8; count += 1) each.accept(large);
    expect(fullness).toEqual(["full", "over"]);
    await each.next();
    expect(fullness).toEqual(["full", "over", "full"]);
    each.accept(large);
    each.allowMore();
    expect(fullness.slice(3)).toEqual(["over", "full"]);
    expect(each.lost).toBe(0);
    await each.close();
    expect(fullness.slice(5)).toEqual(["room"]);
  });

  test("in a queue group loses what comes far beyond its limit, and tells it", async () => {
    const each = subscription({ queueMessagesMax: 4, group: "g" });
    const mebibyte = new Uint8Array(1024 * 1024);
    const large = new Message("a", SENDER, ENCODING.BYTES, mebibyte, 0, 1024 * 1024, NONE, 0);
    for (let count = 0; count < 4 + 8 + 3; count += 1) each.accept(large);
    expect(fullness).toEqual(["full"]);
    expect([each.queued, each.lost]).toEqual([12, 3]);
    await each.close();
  });

  test("ends at queueBytesMax with disconnect, and says how many bytes that were", async () => {
    const each = subscription({ overflow: "disconnect", queueBytesMax: 2 });
    for (let number = 1; number <= 3; number += 1) each.accept(message(number));
    await numbersOf(each, 2);
    expect(each.next()).rejects.toMatchObject({ limit: 2, actual: 3 });
  });

  test("a waiting next() rejects where the broker tells a gap, and can go on", async () => {
    const each = subscription(options);
    const next = each.next();
    each.noteGap({ topic: "a", count: 3, reason: "superseded" });
    expect(next).rejects.toMatchObject({ code: "DATA_GAP", topic: "a", count: 3 });
    each.accept(message(1));
    expect(await numbersOf(each, 1)).toEqual([1]);
  });
});

describe("Subscription.close()", () => {
  test("ends waiting calls, lets queued messages go, and tells the host once", async () => {
    const each = subscription();
    const { fds, numbers } = receivedFds(1);
    const waiting = each.next();
    each.accept(message(1));
    each.accept(message(2, fds));
    expect((await waiting).value.bytes[0]).toBe(1);
    await each.close();
    await each.close();
    expect(numbers.map(isOpenFd)).toEqual([false]);
    expect(unsubscribed).toEqual([each]);
    expect(await each.next()).toEqual({ done: true, value: undefined });
  });

  test("is what leaving a loop does", async () => {
    const each = subscription();
    each.accept(message(1));
    for await (const _message of each) break;
    expect(unsubscribed).toEqual([each]);
  });

  test("follows when the signal is aborted, also where it was before", async () => {
    const controller = new AbortController();
    const first = subscription();
    first.obey(controller.signal);
    expect(unsubscribed).toEqual([]);
    controller.abort();
    const second = subscription();
    second.obey(controller.signal);
    expect(unsubscribed).toEqual([first, second]);
    expect(await first.next()).toEqual({ done: true, value: undefined });
  });
});

describe("onMessage", () => {
  test("gets every message, and fds are closed when it returns", () => {
    const seen: unknown[] = [];
    const { fds, numbers } = receivedFds(1);
    const each = subscription({
      onMessage: (one) => {
        seen.push(one.bytes[0]);
        if (one.fds.length > 0) expect(numbers.map(isOpenFd)).toEqual([true]);
      },
    });
    each.accept(message(1, fds));
    each.accept(message(2));
    expect(seen).toEqual([1, 2]);
    expect(numbers.map(isOpenFd)).toEqual([false]);
    expect(each.queued).toBe(0);
  });

  test("keeps fds open until the promise it returned is settled", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { fds, numbers } = receivedFds(1);
    subscription({ onMessage: () => promise }).accept(message(1, fds));
    expect(numbers.map(isOpenFd)).toEqual([true]);
    resolve();
    await promise;
    await new Promise((done) => setImmediate(done));
    expect(numbers.map(isOpenFd)).toEqual([false]);
  });
});

describe("Subscription.finished()", () => {
  /** Whether it has resolved once promises had their turn. */
  async function isFinished(each: Subscription): Promise<boolean> {
    let isDone = false;
    void each.finished().then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    return isDone;
  }

  test("resolves at once where nothing came", async () => {
    const each = subscription();
    expect(await isFinished(each)).toBe(true);
  });

  test("waits until the iterator has read all, and asks for more", async () => {
    const each = subscription();
    each.accept(message(1));
    each.end(undefined);
    expect(await isFinished(each)).toBe(false);
    await each.next();
    expect(await isFinished(each)).toBe(false);
    expect((await each.next()).done).toBe(true);
    expect(await isFinished(each)).toBe(true);
  });

  test("waits for a message that went to a waiting next()", async () => {
    const each = subscription();
    const next = each.next();
    each.accept(message(1));
    each.end(undefined);
    await next;
    expect(await isFinished(each)).toBe(false);
    await each.next();
    expect(await isFinished(each)).toBe(true);
  });

  test("waits for callbacks that were called", async () => {
    const gate = Promise.withResolvers<void>();
    const each = subscription({ onMessage: () => gate.promise });
    each.accept(message(1));
    expect(await isFinished(each)).toBe(false);
    gate.resolve();
    expect(await isFinished(each)).toBe(true);
  });

  test("resolves where the loop is left, since the rest is let go", async () => {
    const each = subscription();
    each.accept(message(1));
    each.accept(message(2));
    const finished = each.finished();
    for await (const _first of each) break;
    await finished;
    expect(each.queued).toBe(0);
  });
});
