/** The client library while its broker dies and comes back: real processes, kill -9 included. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "../../src/client/bus.ts";
import { type ConnectOptions, connect } from "../../src/client/connect.ts";
import type { StatusEvent } from "../../src/client/status.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

/** Short pauses, so that a test spends its time on what it is about. */
const QUICK = { minDelayMs: 1, maxDelayMs: 20 };

let directory: string;
let path: string;
let broker: SpawnedBroker;
let buses: Bus[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-reconnect-"));
  chmodSync(directory, 0o755);
  path = join(directory, "bus.sock");
  buses = [];
  broker = await spawnBroker({ path });
});

afterEach(async () => {
  for (const bus of buses) await bus.close();
  await broker[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function open(options: ConnectOptions = {}): Promise<Bus> {
  const bus = await connect({ path, reconnect: QUICK, ...options });
  buses.push(bus);
  return bus;
}

/** Everything that happens to a bus from now on. */
function record(bus: Bus): StatusEvent[] {
  const events: StatusEvent[] = [];
  void (async () => {
    for await (const event of bus.status()) events.push(event);
  })();
  return events;
}

async function killBroker(): Promise<void> {
  broker.kill("SIGKILL");
  await broker.exited();
}

async function restartBroker(options: Parameters<typeof spawnBroker>[0] = {}): Promise<void> {
  await killBroker();
  broker = await spawnBroker({ path, ...options });
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was rejected");
}

/** Messages that all lost connections together may have lost. */
function lostOf(events: readonly StatusEvent[]): number {
  return events.reduce(
    (sum, event) => sum + (event.type === "disconnected" ? event.unconfirmed : 0),
    0,
  );
}

const isAgain = (bus: Bus) => eventually(() => bus.isConnected, "the bus is connected again");
const isGone = (bus: Bus) => eventually(() => !bus.isConnected, "the bus saw its broker go");

describe("a bus whose broker was killed and started again", () => {
  test("goes on with its subscriptions, and tells of the gap", async () => {
    const bus = await open();
    const events = record(bus);
    const before = bus.self;
    const subscription = await bus.subscribe("a.*");
    const other = await bus.subscribe("b");
    await restartBroker();
    await eventually(() => events.some(({ type }) => type === "connected"), "it is told");
    const publisher = await open();
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
    const bus = await open();
    bus.publish("a", "first");
    await bus.flush();
    await killBroker();
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
    broker = await spawnBroker({ path });
    expect(await flushed).toMatchObject({ published: 5_003 });
    expect(bus.isConnected).toBe(true);
  });

  test("receives itself what it publishes in the gap, behind its own subscription", async () => {
    const bus = await open();
    const own = await bus.subscribe(">");
    await killBroker();
    await isGone(bus);
    using files = new TestFiles(["content"]);
    bus.publish("a", 1);
    bus.publish("b", 2, { fds: files.fds });
    bus.publish("a", new Uint8Array(100_000).fill(3));
    const late = bus.subscribe("d");
    bus.publish("d", 4);
    broker = await spawnBroker({ path });
    expect((await own.next()).value.data).toBe(1);
    const withFile = (await own.next()).value;
    expect(withFile.data).toBe(2);
    expect(await withFile.fds.at(0).text()).toBe("content");
    expect((await own.next()).value.bytes).toEqual(new Uint8Array(100_000).fill(3));
    expect((await own.next()).value.data).toBe(4);
    expect((await (await late).next()).value.data).toBe(4);
  });

  test("sends what a stopped broker left waiting, and counts exactly what it may have taken", async () => {
    const bus = await open();
    const events = record(bus);
    const own = await bus.subscribe("a");
    bus.publish("a", Uint8Array.of(0));
    await bus.flush();
    await own.next();
    broker.kill("SIGSTOP");
    const total = 200;
    for (let index = 0; index < total; index += 1) {
      const body = new Uint8Array(40_000);
      body[0] = index;
      bus.publish("a", body);
    }
    await restartBroker();
    const unconfirmed = await eventually(() => lostOf(events), "the loss is told");
    expect(unconfirmed).toBeLessThan(total);
    for (let index = unconfirmed; index < total; index += 1) {
      expect((await own.next()).value.bytes[0]).toBe(index);
    }
    expect(await rejectionOf(bus.flush())).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    expect(await bus.flush()).toMatchObject({ published: total - unconfirmed });
  });

  test("tells flush() once that messages may be lost, and not where none can be", async () => {
    const bus = await open();
    bus.publish("a", 1);
    await bus.flush();
    broker.kill("SIGSTOP");
    bus.publish("a", 2);
    const doomed = rejectionOf(bus.flush());
    const alsoDoomed = rejectionOf(bus.flush());
    await killBroker();
    expect(await doomed).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    expect(await alsoDoomed).toBe(await doomed);
    const kept = bus.flush();
    bus.publish("a", 3);
    broker = await spawnBroker({ path });
    expect(await kept).toMatchObject({ published: expect.any(Number) });
    expect(await bus.flush()).toMatchObject({ dropped: 0 });
  });
});

describe("a bus whose broker says goodbye", () => {
  test("gets the last message first, and goes on with the next broker", async () => {
    const bus = await open();
    const events = record(bus);
    const subscription = await bus.subscribe("a");
    bus.publish("a", "last");
    await bus.flush();
    await broker.stop();
    await isGone(bus);
    expect((await subscription.next()).value.data).toBe("last");
    broker = await spawnBroker({ path });
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
    const bus = await open();
    const events = record(bus);
    const kept = await bus.subscribe("a");
    const refused = await bus.subscribe("b");
    await restartBroker({ policy: POLICY });
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
    const bus = await open();
    const events = record(bus);
    const own = await bus.subscribe("a");
    await killBroker();
    await isGone(bus);
    bus.publish("secret", 1);
    bus.publish("a", 2);
    broker = await spawnBroker({ path, policy: POLICY });
    expect((await own.next()).value.data).toBe(2);
    expect(await rejectionOf(bus.flush())).toMatchObject({ code: "REJECTED_BY_POLICY" });
    expect(events.map(({ type }) => type)).toContain("denied");
  });

  testUnless(
    process.getuid?.() !== 0,
    "only root can be another user",
    "ends where a stranger listens, and gives it nothing",
    async () => {
      const bus = await open({ brokerUid: 0 });
      bus.publish("a", 1);
      await bus.flush();
      await killBroker();
      await isGone(bus);
      bus.publish("a", "for the real broker alone");
      const events = record(bus);
      chownSync(directory, 12_345, 12_345);
      for (const name of readdirSync(directory)) unlinkSync(join(directory, name));
      broker = await spawnBroker({ path, uid: 12_345 });
      expect(await bus.closed()).toMatchObject({ code: "REJECTED_BROKER" });
      expect(() => bus.publish("a", 2)).toThrow("Cannot trust");
      await eventually(() => events.length === 1, "the end is told");
      expect(events[0]).toMatchObject({ type: "closed", unconfirmed: 1 });
      expect(broker.findAll("connected")).toEqual([]);
    },
  );
});

describe("a bus without a broker", () => {
  test("refuses to publish where it is told not to keep", async () => {
    const bus = await open({ reconnect: { ...QUICK, whileDisconnected: "refuse" } });
    const own = await bus.subscribe("a");
    await killBroker();
    await isGone(bus);
    const code = "CLOSED_DISCONNECTED";
    expect(() => bus.publish("a", 1)).toThrow(expect.objectContaining({ code }));
    broker = await spawnBroker({ path });
    await isAgain(bus);
    bus.publish("a", 2);
    expect((await own.next()).value.data).toBe(2);
  });

  test("keeps no more than keepBytes, and says so", async () => {
    const bus = await open({ reconnect: { ...QUICK, keepBytes: 10_000 } });
    const own = await bus.subscribe("a");
    await killBroker();
    await isGone(bus);
    let kept = 0;
    expect(() => {
      for (; kept < 100; kept += 1) bus.publish("a", new Uint8Array(1_000).fill(kept));
    }).toThrow(expect.objectContaining({ code: "LIMIT_OUTBOUND", limit: 10_000 }));
    expect(kept).toBe(8);
    broker = await spawnBroker({ path });
    for (let index = 0; index < kept; index += 1) {
      expect((await own.next()).value.bytes[0]).toBe(index);
    }
  });

  test("ends after maxAttempts, with what the last one met as the cause", async () => {
    const bus = await open({ reconnect: { ...QUICK, maxAttempts: 3 } });
    const subscription = await bus.subscribe("a");
    await killBroker();
    expect(await bus.closed()).toMatchObject({
      code: "CLOSED_DISCONNECTED",
      message: expect.stringContaining("attempt 3"),
      cause: { code: "ECONNREFUSED" },
    });
    expect(await rejectionOf(subscription.next())).toBe(await bus.closed());
  });

  test("closes at once where nothing is kept, and tells what is lost where it is", async () => {
    const idle = await open();
    const full = await open();
    await killBroker();
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
    await killBroker();
    const waiting = open({ waitForBroker: true });
    broker = await spawnBroker({ path });
    const bus = await waiting;
    bus.publish("a", 1);
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });

  test("gives up waiting after timeoutMs, or when its signal is aborted", async () => {
    await killBroker();
    const late = await rejectionOf(open({ waitForBroker: true, timeoutMs: 30 }));
    expect(late).toMatchObject({ code: "TIMEOUT_CONNECT", cause: { code: "ECONNREFUSED" } });
    const abort = new AbortController();
    const timeoutMs = Number.POSITIVE_INFINITY;
    const waiting = open({ waitForBroker: true, timeoutMs, signal: abort.signal });
    const reason = new Error("no more time");
    abort.abort(reason);
    expect(await rejectionOf(waiting)).toBe(reason);
  });
});

describe("Bus.drain()", () => {
  test("lets queued messages, callbacks and what they publish finish", async () => {
    const bus = await open();
    const reader = await open();
    const results = await reader.subscribe("result.>");
    const seen: unknown[] = [];
    const queued = await bus.subscribe("queued");
    const gate = Promise.withResolvers<void>();
    await bus.subscribe("called", {
      onMessage: async ({ data }) => {
        await gate.promise;
        bus.publish("result.called", data);
      },
    });
    for (let index = 0; index < 10; index += 1) reader.publish("queued", index);
    reader.publish("called", "done");
    await reader.flush();
    await eventually(() => queued.queued === 10, "all are queued");
    const drained = bus.drain();
    expect(await rejectionOf(bus.subscribe("more"))).toMatchObject({ code: "CLOSED_BY_USER" });
    for await (const { data } of queued) {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(data);
      bus.publish("result.queued", data);
    }
    gate.resolve();
    await drained;
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await bus.closed()).toBeUndefined();
    const topics: string[] = [];
    while (topics.length < 11) topics.push((await results.next()).value.topic);
    expect(topics.filter((topic) => topic === "result.called")).toHaveLength(1);
  });

  test("closes all the same after timeoutMs, and says so", async () => {
    const bus = await open();
    await bus.subscribe("a", { onMessage: () => new Promise(() => {}) });
    bus.publish("a", 1);
    await bus.flush();
    const error = await rejectionOf(bus.drain({ timeoutMs: 30 }));
    expect(error).toMatchObject({ code: "TIMEOUT_DRAIN" });
    expect(await bus.closed()).toBeUndefined();
  });

  test("waits for the next broker with what is kept, and for none with nothing", async () => {
    const idle = await open();
    const full = await open();
    await killBroker();
    await isGone(idle);
    await isGone(full);
    await idle.drain();
    full.publish("a", 1);
    const drained = full.drain();
    broker = await spawnBroker({ path });
    await drained;
    expect(await full.closed()).toBeUndefined();
  });
});

describe("every message", () => {
  /** A bus that says the numbers from 0 on, and is vouched for now and then. */
  async function publishUntil(stop: AbortSignal, topic: string): Promise<Talk> {
    const bus = await open();
    const events = record(bus);
    const heard = await listenTo(bus, topic);
    let said = 0;
    let refusals = 0;
    while (!stop.aborted) {
      for (let count = 0; count < 50; count += 1) bus.publish(topic, said++);
      if (said % 200 === 0) await bus.flush().catch(() => (refusals += 1));
      else await new Promise((resolve) => setImmediate(resolve));
    }
    await bus.flush().catch(() => bus.flush());
    return { said, heard: heard.numbers, lost: lostOf(events), refusals };
  }

  interface Talk {
    readonly said: number;
    readonly heard: readonly number[];
    readonly lost: number;
    readonly refusals: number;
  }

  async function listenTo(bus: Bus, topic: string) {
    const numbers: number[] = [];
    const subscription = await bus.subscribe(topic, {
      onMessage: ({ data }) => void numbers.push(data as number),
    });
    return { numbers, subscription };
  }

  /** Places where a number does not follow on the one before. */
  function holesIn(numbers: readonly number[]): number {
    return numbers.filter((number, index) => number !== (numbers[index - 1] ?? -1) + 1).length;
  }

  test("comes once and in order, or is accounted for, over ten brokers that are killed", async () => {
    const listeners = await Promise.all(
      ["t.0", "t.1", "t.0"].map(async (topic) => ({
        topic,
        ...(await listenTo(await open(), topic)),
      })),
    );
    const stop = new AbortController();
    const talking = Promise.all(["t.0", "t.1"].map((topic) => publishUntil(stop.signal, topic)));
    for (let round = 0; round < 10; round += 1) {
      const heard = listeners.map(({ numbers }) => numbers.length);
      await eventually(
        () => listeners.every(({ numbers }, index) => numbers.length > (heard[index] ?? 0) + 500),
        "everybody hears something",
      );
      await restartBroker();
    }
    stop.abort();
    const talks = await talking;
    for (const { said, heard, lost } of talks) {
      // Who publishes hears itself: what is missing was lost with a connection, and counted there.
      expect(said - heard.length).toBeLessThanOrEqual(lost);
      expect(holesIn(heard)).toBeLessThanOrEqual(10);
      expect(heard.at(-1)).toBe(said - 1);
    }
    expect(talks.some(({ said, heard }) => said > heard.length)).toBe(true);
    for (const { topic, numbers, subscription } of listeners) {
      const said = talks[topic === "t.0" ? 0 : 1]?.said ?? 0;
      await eventually(() => numbers.at(-1) === said - 1, "the last message came");
      expect(numbers.every((number, index) => number > (numbers[index - 1] ?? -1))).toBe(true);
      expect(subscription.lost).toBe(0);
      expect(holesIn(numbers)).toBeLessThanOrEqual(subscription.disconnects);
    }
  }, 30_000);

  test("leaves no fd behind, over 50 connections that were lost", async () => {
    const bus = await open();
    const own = await bus.subscribe("files");
    using files = new TestFiles(["file"]);
    const sayOne = async () => {
      bus.publish("files", 1, { fds: files.fds });
      const { value } = await own.next();
      value[Symbol.dispose]();
    };
    await sayOne();
    const count = () => readdirSync("/proc/self/fd").length;
    const before = count();
    for (let round = 0; round < 50; round += 1) {
      broker.kill("SIGSTOP");
      bus.publish("files", new Uint8Array(100_000), { fds: files.fds });
      await restartBroker();
      await isAgain(bus);
      const { disconnects } = own;
      expect(disconnects).toBe(round + 1);
      await sayOne();
    }
    await eventually(
      () => count() === before,
      () => `${before} fds are open, not ${count()}`,
    );
  }, 60_000);
});
