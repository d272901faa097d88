import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { REPLAY_QUEUE_BYTES_MAX } from "../../../../src/broker/retained/limits.ts";
import { FINISHED, ReplayFeed } from "../../../../src/broker/retained/replay-feed.ts";
import { parse } from "../policy/policy-fixture.ts";
import { RetainedBench } from "./retained-fixture.ts";

let bench: RetainedBench;
let writer: Connection;
let reader: Connection;

beforeEach(() => {
  bench = new RetainedBench();
  writer = bench.connect(1);
  reader = bench.connect(2);
});

describe("RetainedTable.sweep()", () => {
  test("lets go of what is over, in steps, while values come", () => {
    for (let number = 0; number < 200; number += 1) bench.keep(writer, `a.${number}`, number);

    const steps = bench.table.sweep((name) => !name.endsWith("7"));
    expect(steps.next().done).toBe(false);
    bench.keep(writer, "late.7", 1);
    while (steps.next().done !== true) {
      // One step at a time.
    }

    expect([...bench.table.values()].map(({ topic }) => topic.name)).toEqual([
      ...Array.from({ length: 20 }, (_, index) => `a.${10 * index + 7}`),
      "late.7",
    ]);
  });
});

describe("ReplayFeed.advance()", () => {
  test("comes to an end, however many values are kept meanwhile", () => {
    for (let number = 0; number < 10; number += 1) bench.keep(writer, `a.${number}`, number);
    const feed = new ReplayFeed(bench.table, () => true);
    feed.addPattern(1, "b.*");

    let steps = 0;
    while (feed.advance() !== FINISHED) {
      steps += 1;
      bench.keep(writer, `b.${steps}`, steps);
      if (steps > 100) break;
    }

    expect(steps).toBeLessThan(20);
  });
});

describe("Replay", () => {
  test("gives a new subscriber the last value of its topic, with topic and sender before", () => {
    bench.keep(writer, "a.b", 7);

    bench.subscribe(reader, "a.b");
    bench.settle(reader);

    expect(bench.told(reader)).toEqual(["TOPIC", "SENDER", "retained 7"]);
    expect(bench.replay.size).toBe(0);
  });

  test("gives a pattern every value that it matches, and no other", () => {
    for (const [number, name] of ["a.b", "b.c", "a.c"].entries()) bench.keep(writer, name, number);

    bench.subscribe(reader, "a.*");
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual(["retained 0", "retained 2"]);
  });

  test("tells of a sender that is gone for as long as its values last", () => {
    bench.keep(writer, "a.b", 1);
    bench.keep(writer, "a.c", 2);
    bench.leave(writer);

    bench.subscribe(reader, "a.>");
    bench.settle(reader);

    expect(bench.told(reader)).toEqual([
      "TOPIC",
      "SENDER",
      "retained 1",
      "TOPIC",
      "retained 2",
      "SENDER_GONE",
    ]);
  });

  test("gives nothing that was delivered live", () => {
    bench.keep(writer, "a.b", 1);
    bench.subscribe(reader, "a.>");

    bench.retain(writer, "a.b", 2);
    bench.retain(writer, "a.c", 3);
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual(["retained 1", "2", "3"]);
  });

  test("gives the value before a message on its topic, also one that is not kept", () => {
    bench.keep(writer, "a.b", 1);
    bench.keep(writer, "a.c", 2);
    bench.subscribe(reader, "a.>");

    bench.publish(writer, "a.c", 3);
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual(["retained 2", "3", "retained 1"]);
  });

  test("gives each new subscription the values anew", () => {
    bench.keep(writer, "a.b", 1);
    bench.subscribe(reader, "a.>");
    bench.settle(reader);
    bench.messages(reader);

    bench.subscribe(reader, "a.b");
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual(["retained 1"]);
  });

  test("gives a value once to patterns that were subscribed to together", () => {
    bench.keep(writer, "a.b", 1);

    for (const pattern of ["a.>", "a.*", ">"]) bench.subscribe(reader, pattern);
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual(["retained 1"]);
  });

  test("gives nothing for a subscription that is over", () => {
    bench.keep(writer, "a.b", 1);
    const named = bench.subscribe(reader, "a.b");
    const matching = bench.subscribe(reader, "a.*");

    bench.unsubscribe(reader, named);
    bench.unsubscribe(reader, matching);
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual([]);
  });

  test("gives nothing that was cleared or has expired meanwhile", () => {
    bench.keep(writer, "a.b", 1);
    bench.keep(writer, "a.c", 2, { keptMs: 5 });
    bench.subscribe(reader, "a.>");
    bench.subscribe(reader, "a.b");

    bench.table.clear("a.b");
    bench.table.expire(5, () => true);
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual([]);
  });

  test("gives no value of a topic that the policy lets the subscriber not read", () => {
    bench = new RetainedBench(
      parse(`
[[rule]]
allow = ["publish", "subscribe"]
topics = ["a.>"]
any = true
[[rule]]
deny = ["subscribe"]
topics = ["a.secret"]
any = true
`),
    );
    writer = bench.connect(1);
    reader = bench.connect(2);
    bench.keep(writer, "a.secret", 1);
    bench.keep(writer, "a.open", 2);

    bench.subscribe(reader, "a.>");
    bench.settle(reader);

    expect(bench.messages(reader)).toEqual(["retained 2"]);
  });

  test("stops while a slow reader's queue is full, and loses nothing", () => {
    const count = 8_000;
    const name = `a.${"x".repeat(240)}`;
    for (let number = 0; number < count; number += 1) bench.keep(writer, name + number, number);
    bench.connections.socketOf(reader).capacity = 0;

    bench.subscribe(reader, ">");
    bench.settle();

    expect(reader.queue.queuedBytes).toBeGreaterThan(REPLAY_QUEUE_BYTES_MAX);
    expect(reader.queue.queuedBytes).toBeLessThan(REPLAY_QUEUE_BYTES_MAX + 1_024);
    expect(bench.replay.isIdle).toBe(true);

    bench.connections.socketOf(reader).capacity = Number.POSITIVE_INFINITY;
    bench.settle(reader);
    expect(bench.messages(reader)).toEqual(
      Array.from({ length: count }, (_, number) => `retained ${number}`),
    );
  });

  test("serves others while one subscriber is looked through many values", () => {
    for (let number = 0; number < 1_000; number += 1) bench.keep(writer, `a.${number}`, number);
    const other = bench.connect(3);
    bench.subscribe(reader, "b.>");
    bench.subscribe(other, "a.7");

    let looks = 0;
    bench.replay.run(() => {
      looks += 1;
      return looks < 2;
    });

    expect(bench.messages(other)).toEqual(["retained 7"]);
    expect(bench.replay.isIdle).toBe(false);
  });

  test("forgets a reader that is gone", () => {
    bench.keep(writer, "a.b", 1);
    bench.subscribe(reader, "a.b");
    bench.connections.socketOf(reader).isPeerGone = true;
    bench.leave(reader);

    bench.settle(reader);

    expect(bench.replay.size).toBe(0);
    expect(bench.replay.isIdle).toBe(true);
  });

  test("gives each reader copies of the files, paid for by the reader", () => {
    bench.keep(writer, "a.b", 1, { bundle: bench.connections.kernel.bundle(2) });
    const readers = [reader, bench.connect(3), bench.connect(4)];
    bench.leave(writer);

    for (const each of readers) bench.subscribe(each, "a.b");
    bench.settle(...readers);

    for (const each of readers) {
      const frame = bench.connections.framesTo(each).at(-2);
      expect(frame?.fdCount).toBe(2);
      expect(each.fdAccount.waiting).toBe(2);
    }
    expect(bench.connections.kernel.openFds.size).toBe(2);
    bench.table.clear("a.b");
    expect(bench.connections.kernel.openFds.size).toBe(0);
  });

  test("withholds files from a reader that has too many on their way, and counts them", () => {
    bench.keep(writer, "a.b", 1, { bundle: bench.connections.kernel.bundle(2) });
    reader.fdAccount.charge(reader.fdAccount.limit);

    bench.subscribe(reader, "a.b");
    bench.settle(reader);

    const [, , message] = bench.connections.framesTo(reader);
    expect(message).toMatchObject({ fdCount: 0, flags: 0x88 });
    expect(bench.connections.fdsInFlight.counters.stalled).toBe(2);
  });
});
