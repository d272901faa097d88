/** Callbacks that are slower than the bus: as many at a time as asked for, the rest as in a queue. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { Gap } from "../../../src/client/gaps.ts";
import { Message } from "../../../src/client/message.ts";
import { ReceivedFds } from "../../../src/client/received-fds.ts";
import { Subscription } from "../../../src/client/subscription.ts";
import type { SubscribeOptions } from "../../../src/client/subscription-options.ts";
import { ENCODING } from "../../../src/protocol/opcodes.ts";
import { SENDER } from "./sender-fixture.ts";

/** What the program sees, in order: numbers of messages, and gaps as [topic, count, reason]. */
let story: unknown[];
/** Ends the callback for a message. */
let finish: Map<number, () => void>;
let fullness: string[];
let ends: string[];

beforeEach(() => {
  story = [];
  finish = new Map();
  fullness = [];
  ends = [];
});

function subscription(options: SubscribeOptions = {}): Subscription {
  const host = {
    unsubscribe: async () => {},
    noteLost: () => {},
    noteFill: (_each: unknown, fill: string) => void fullness.push(fill),
    noteTaken: () => {},
    noteEnded: (_each: unknown, { code }: { code: string }) => void ends.push(code),
  };
  const onMessage = (one: Message) => {
    const number = one.bytes[0] as number;
    story.push(number);
    return new Promise<void>((resolve) => finish.set(number, resolve));
  };
  const onGap = ({ topic, count, reason }: Gap) => void story.push([topic, count, reason]);
  return new Subscription("a", host, { onMessage, onGap, ...options });
}

function accept(each: Subscription, numbers: readonly number[], topic = "a"): void {
  for (const number of numbers) {
    const body = Uint8Array.of(number);
    each.accept(
      new Message(topic, SENDER, ENCODING.BYTES, body, 0, 1, new ReceivedFds([]), 0, undefined),
    );
  }
}

/** Ends callbacks, and lets what follows from it happen. */
async function settle(...numbers: number[]): Promise<void> {
  for (const number of numbers) finish.get(number)?.();
  await new Promise((resolve) => setImmediate(resolve));
}

describe("onMessage with a promise", () => {
  test("is unfinished for at most queueMessagesMax messages, and in order for all", async () => {
    const each = subscription({ queueMessagesMax: 3, overflow: "block" });
    accept(each, [1, 2, 3, 4, 5]);
    expect(story).toEqual([1, 2, 3]);
    expect(each.queued).toBe(2);
    await settle(2);
    expect(story).toEqual([1, 2, 3, 4]);
    await settle(1, 3, 4);
    accept(each, [6]);
    expect(story).toEqual([1, 2, 3, 4, 5, 6]);
    expect([each.queued, each.lost]).toEqual([0, 0]);
  });

  test("is called for one message after the other with a concurrency of 1", async () => {
    const each = subscription({ concurrency: 1 });
    accept(each, [1, 2, 3]);
    for (const number of [1, 2, 3]) {
      expect(story).toEqual([1, 2, 3].slice(0, number));
      await settle(number);
    }
    await each.finished();
  });

  test("holds the bus back with block, and lets it go on", async () => {
    const each = subscription({ queueMessagesMax: 2, concurrency: 1, overflow: "block" });
    accept(each, [1, 2]);
    expect(fullness).toEqual([]);
    accept(each, [3, 4]);
    expect(fullness).toEqual(["full"]);
    await settle(1);
    expect(fullness).toEqual(["full"]);
    await settle(2);
    expect(fullness).toEqual(["full", "room"]);
    expect(each.lost).toBe(0);
  });

  test("is not called while unfinished ones have queueBytesMax", async () => {
    const each = subscription({ queueBytesMax: 2 });
    accept(each, [1, 2, 3]);
    expect([story, each.queued]).toEqual([[1, 2], 1]);
    await settle(1);
    expect([story, each.queued]).toEqual([[1, 2, 3], 0]);
  });

  test("holds the bus back by itself in a queue group", () => {
    const each = subscription({ queueMessagesMax: 1, group: "g" });
    accept(each, [1, 2]);
    expect([story, fullness]).toEqual([[1], ["full"]]);
  });

  test("loses what comes with drop-newest, and is told in the place of the loss", async () => {
    const each = subscription({ queueMessagesMax: 2, concurrency: 1 });
    accept(each, [1, 2, 3, 4, 5]);
    await settle(1);
    accept(each, [6]);
    await settle(2);
    await settle(3, 6);
    expect(story).toEqual([1, 2, 3, ["a", 2, "subscription-full"], 6]);
    expect(each.lost).toBe(2);
  });

  test("loses what waits longest with drop-oldest, never what is in hand", async () => {
    const each = subscription({ queueMessagesMax: 2, concurrency: 1, overflow: "drop-oldest" });
    accept(each, [1, 2, 3, 4, 5]);
    await settle(1);
    await settle(4);
    expect(story).toEqual([1, ["a", 2, "oldest-dropped"], 4, 5]);
  });

  test("gets the newest of each topic with latest-per-topic", async () => {
    const options = { queueMessagesMax: 2, concurrency: 1, overflow: "latest-per-topic" } as const;
    const each = subscription(options);
    accept(each, [1, 2]);
    accept(each, [3], "b");
    accept(each, [4]);
    accept(each, [5], "b");
    await settle(1);
    await settle(4);
    await settle(5);
    const gaps = [
      ["a", 1, "superseded"],
      ["b", 1, "superseded"],
    ];
    expect(story).toEqual([1, gaps[0], 4, gaps[1], 5]);
  });

  test("ends with disconnect, after what waits, and the bus is told", async () => {
    const each = subscription({ queueMessagesMax: 1, overflow: "disconnect" });
    accept(each, [1, 2, 3]);
    expect(ends).toEqual(["LIMIT_SLOW_READER"]);
    await settle(1);
    expect(story).toEqual([1, 2]);
    expect(each.next()).rejects.toMatchObject({ code: "LIMIT_SLOW_READER" });
  });

  test("does not stand in the way of the next message where it rejects", async () => {
    await using child = Bun.spawn([process.execPath, `${import.meta.dir}/rejection-fixture.ts`]);
    expect(await child.stdout.text()).toBe("called 1\ncalled 2\nuncaught: first\n");
  });

  test("is not called any more for what waits after close(), nor after the bus is closed", async () => {
    const closed = subscription({ concurrency: 1 });
    const left = subscription({ concurrency: 1 });
    accept(closed, [1, 2]);
    await closed.close();
    accept(left, [3, 4]);
    left.end(undefined);
    left.forgetCallbacks();
    await settle(1, 3);
    expect(story).toEqual([1, 3]);
  });

  test("is waited for by finished(), with all that waits for it", async () => {
    const each = subscription({ concurrency: 1 });
    accept(each, [1, 2]);
    each.end(undefined);
    let isFinished = false;
    void each.finished().then(() => {
      isFinished = true;
    });
    await settle(1);
    expect([story, isFinished]).toEqual([[1, 2], false]);
    await settle(2);
    expect(isFinished).toBe(true);
  });
});

describe("onGap with callbacks", () => {
  test("comes at once where no message waits, and in its place where some do", async () => {
    const each = subscription({ concurrency: 1 });
    accept(each, [1]);
    each.noteGap({ topic: "b", count: 7, reason: "send-queue-full" });
    accept(each, [2]);
    each.noteGap({ topic: "c", count: 8, reason: "superseded" });
    accept(each, [3]);
    expect(story).toEqual([1, ["b", 7, "send-queue-full"]]);
    await settle(1);
    expect(story).toEqual([1, ["b", 7, "send-queue-full"], 2]);
    await settle(2);
    expect(story.slice(3)).toEqual([["c", 8, "superseded"], 3]);
  });
});
