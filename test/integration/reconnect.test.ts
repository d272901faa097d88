/** The client library while its broker dies and comes back, as the same or as another. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chownSync, readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { TimeoutError } from "../../src/errors.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import {
  isAgain,
  isGone,
  lostOf,
  MortalBroker,
  QUICK,
  record,
  rejectionOf,
} from "../support/mortal-broker.ts";
import { TestFiles } from "../support/test-files.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

describe("a bus whose broker was killed and started again", () => {
  test("goes on with its subscriptions, and tells of the gap", async () => {
    const bus = await broker.open();
    const events = record(bus);
    const before = bus.self;
    const subscription = await bus.subscribe("a.*");
    const other = await bus.subscribe("b");
    await broker.restart();
    await eventually(() => events.some(({ type }) => type === "connected"), "it is told");
    const publisher = await broker.open();
    publisher.publish("a.x", "after");
    publisher.publish("b", "after");
    await publisher.flush();
    expect((await subscription.next()).value.data).toBe("after");
    expect((await other.next()).value.data).toBe("after");
    expect(subscription.disconnects).toBe(1);
    expect(events).toEqual([
      {
        type: "disconnected",
        error: expect.objectContaining({ code: "CLOSED_BY_PEER" }),
        unconfirmed: 0,
      },
      { type: "gap", topic: undefined, count: undefined, reason: "disconnected" },
      { type: "connected", attempts: expect.any(Number), self: bus.self },
    ]);
    expect(bus.self.pid).toBe(before.pid);
  });

  test("sends what was published meanwhile, in order, with its files and large bodies", async () => {
    const bus = await broker.open();
    bus.publish("a", "first");
    await bus.flush();
    await broker.kill();
    await isGone(bus);
    const large = new Uint8Array(200_000).fill(7);
    {
      using files = new TestFiles(["file"]);
      bus.publish("a", 1);
      bus.publish("b", 2, { fds: files.fds });
      bus.publish("a", large);
      for (let index = 0; index < 5_000; index += 1) bus.publish("c", index);
    }
    const flushed = bus.flush();
    await broker.start();
    expect(await flushed).toMatchObject({ published: 5_003 });
    expect(bus.isConnected).toBe(true);
  });

  test("receives itself what it publishes in the gap, behind its own subscription", async () => {
    const bus = await broker.open();
    const own = await bus.subscribe(">");
    await broker.kill();
    await isGone(bus);
    using files = new TestFiles(["content"]);
    bus.publish("a", 1);
    bus.publish("b", 2, { fds: files.fds });
    bus.publish("a", new Uint8Array(100_000).fill(3));
    const late = bus.subscribe("d");
    bus.publish("d", 4);
    await broker.start();
    expect((await own.next()).value.data).toBe(1);
    const withFile = (await own.next()).value;
    expect(withFile.data).toBe(2);
    expect(await withFile.fds.at(0).text()).toBe("content");
    expect((await own.next()).value.bytes).toEqual(new Uint8Array(100_000).fill(3));
    expect((await own.next()).value.data).toBe(4);
    expect((await (await late).next()).value.data).toBe(4);
  });

  test("sends what a stopped broker left waiting, and counts exactly what it may have taken", async () => {
    const bus = await broker.open();
    const events = record(bus);
    const own = await bus.subscribe("a");
    bus.publish("a", Uint8Array.of(0));
    await bus.flush();
    await own.next();
    broker.process.kill("SIGSTOP");
    const total = 200;
    for (let index = 0; index < total; index += 1) {
      const body = new Uint8Array(40_000);
      body[0] = index;
      bus.publish("a", body);
    }
    await broker.restart();
    const unconfirmed = await eventually(() => lostOf(events), "the loss is told");
    expect(unconfirmed).toBeLessThan(total);
    for (let index = unconfirmed; index < total; index += 1) {
      expect((await own.next()).value.bytes[0]).toBe(index);
    }
    expect(await rejectionOf(bus.flush())).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    expect(await bus.flush()).toMatchObject({ published: total - unconfirmed });
  });

  test("tells flush() once that messages may be lost, and not where none can be", async () => {
    const bus = await broker.open();
    bus.publish("a", 1);
    await bus.flush();
    broker.process.kill("SIGSTOP");
    bus.publish("a", 2);
    const doomed = rejectionOf(bus.flush());
    const alsoDoomed = rejectionOf(bus.flush());
    // What is sent in a tick leaves at its end. Had it not left, it would wait for the next broker.
    await nextTurn();
    await broker.kill();
    expect(await doomed).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    expect(await alsoDoomed).toBe(await doomed);
    const kept = bus.flush();
    bus.publish("a", 3);
    await broker.start();
    expect(await kept).toMatchObject({ published: expect.any(Number) });
    expect(await bus.flush()).toMatchObject({ dropped: 0 });
  });
});

describe("a bus whose broker says goodbye", () => {
  test("gets the last message first, and goes on with the next broker", async () => {
    const bus = await broker.open();
    const events = record(bus);
    const subscription = await bus.subscribe("a");
    bus.publish("a", "last");
    await bus.flush();
    await broker.process.stop();
    await isGone(bus);
    expect((await subscription.next()).value.data).toBe("last");
    await broker.start();
    await isAgain(bus);
    bus.publish("a", "first");
    expect((await subscription.next()).value.data).toBe("first");
    expect(events[0]).toMatchObject({ type: "disconnected", error: { code: "CLOSED_BY_BROKER" } });
  });
});

describe("a bus with another broker than before", () => {
  const POLICY = `
[[rule]]
id = "only-a"
allow = ["publish", "subscribe"]
topics = ["a"]
any = true
`;

  test("ends subscriptions that are granted no more, and goes on with the others", async () => {
    const bus = await broker.open();
    const events = record(bus);
    const kept = await bus.subscribe("a");
    const refused = await bus.subscribe("b");
    await broker.restart({ policy: POLICY });
    expect(await rejectionOf(refused.next())).toMatchObject({ code: "REJECTED_BY_POLICY" });
    await isAgain(bus);
    bus.publish("a", 1);
    expect((await kept.next()).value.data).toBe(1);
    expect(events).toContainEqual({
      type: "revoked",
      action: "subscribe",
      topic: "b",
      error: expect.objectContaining({ code: "REJECTED_BY_POLICY" }),
    });
  });

  test("tells of kept messages that are refused there, and sends the others", async () => {
    const bus = await broker.open();
    const events = record(bus);
    const own = await bus.subscribe("a");
    await broker.kill();
    await isGone(bus);
    bus.publish("secret", 1);
    bus.publish("a", 2);
    await broker.start({ policy: POLICY });
    expect((await own.next()).value.data).toBe(2);
    expect(await rejectionOf(bus.flush())).toMatchObject({ code: "REJECTED_BY_POLICY" });
    expect(events.map(({ type }) => type)).toContain("denied");
  });

  testUnless(
    process.getuid?.() !== 0,
    "only root can be another user",
    "ends where a stranger listens, and gives it nothing",
    async () => {
      const bus = await broker.open({ brokerUid: 0 });
      bus.publish("a", 1);
      await bus.flush();
      await broker.kill();
      await isGone(bus);
      bus.publish("a", "for the real broker alone");
      const events = record(bus);
      chownSync(broker.directory, 12_345, 12_345);
      for (const name of readdirSync(broker.directory)) unlinkSync(join(broker.directory, name));
      await broker.start({ uid: 12_345 });
      expect(await bus.closed()).toMatchObject({ code: "REJECTED_BROKER" });
      expect(() => bus.publish("a", 2)).toThrow("Cannot trust");
      await eventually(() => events.length === 1, "the end is told");
      expect(events[0]).toMatchObject({ type: "closed", unconfirmed: 1 });
    },
  );
});

describe("a bus without a broker", () => {
  test("refuses to publish where it is told not to keep", async () => {
    const bus = await broker.open({ reconnect: { ...QUICK, whileDisconnected: "refuse" } });
    const own = await bus.subscribe("a");
    await broker.kill();
    await isGone(bus);
    const code = "CLOSED_DISCONNECTED";
    expect(() => bus.publish("a", 1)).toThrow(expect.objectContaining({ code }));
    await broker.start();
    await isAgain(bus);
    bus.publish("a", 2);
    expect((await own.next()).value.data).toBe(2);
  });

  test("keeps no more than keepBytes, and says so", async () => {
    const bus = await broker.open({ reconnect: { ...QUICK, keepBytes: 10_000 } });
    const own = await bus.subscribe("a");
    await broker.kill();
    await isGone(bus);
    let kept = 0;
    expect(() => {
      for (; kept < 100; kept += 1) bus.publish("a", new Uint8Array(1_000).fill(kept));
    }).toThrow(expect.objectContaining({ code: "LIMIT_OUTBOUND", limit: 10_000 }));
    expect(kept).toBe(8);
    await broker.start();
    for (let index = 0; index < kept; index += 1) {
      expect((await own.next()).value.bytes[0]).toBe(index);
    }
  });

  test("ends after maxAttempts, with what the last one met as the cause", async () => {
    const bus = await broker.open({ reconnect: { ...QUICK, maxAttempts: 3 } });
    const subscription = await bus.subscribe("a");
    await broker.kill();
    expect(await bus.closed()).toMatchObject({
      code: "CLOSED_DISCONNECTED",
      message: expect.stringContaining("attempt 3"),
      cause: { code: "ECONNREFUSED" },
    });
    expect(await rejectionOf(subscription.next())).toBe(await bus.closed());
  });

  test("closes at once where nothing is kept, and tells what is lost where it is", async () => {
    const idle = await broker.open();
    const full = await broker.open();
    await broker.kill();
    await isGone(idle);
    await isGone(full);
    await idle.close();
    expect(await idle.closed()).toBeUndefined();
    full.publish("a", 1);
    const events = record(full);
    await full.close();
    await eventually(() => events.length === 1, "the end is told");
    expect(events).toEqual([{ type: "closed", error: undefined, unconfirmed: 1 }]);
  });
});

describe("connect()", () => {
  test("waits for a broker where asked to", async () => {
    await broker.kill();
    const waiting = broker.open({ waitForBroker: true });
    await broker.start();
    const bus = await waiting;
    bus.publish("a", 1);
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });

  test("gives up waiting after timeoutMs, or when its signal is aborted", async () => {
    await broker.kill();
    const late = await rejectionOf(broker.open({ waitForBroker: true, timeoutMs: 30 }));
    expect(late).toMatchObject({ code: "TIMEOUT_CONNECT", cause: { code: "ECONNREFUSED" } });
    // All of its time, and not only until the next attempt would be too late.
    expect((late as TimeoutError).elapsedMs).toBeGreaterThanOrEqual(30);
    expect((late as TimeoutError).message).toEndWith("no broker came within 30 ms");
    const abort = new AbortController();
    const timeoutMs = Number.POSITIVE_INFINITY;
    const waiting = broker.open({ waitForBroker: true, timeoutMs, signal: abort.signal });
    const reason = new Error("no more time");
    abort.abort(reason);
    expect(await rejectionOf(waiting)).toBe(reason);
  });
});
