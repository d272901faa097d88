import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection, OpenTopic } from "../../../../src/broker/connection.ts";
import type { Cause } from "../../../../src/broker/departures/endings.ts";
import { KeptFds } from "../../../../src/broker/fds/kept-fds.ts";
import { Background } from "../../../../src/broker/long-work/background.ts";
import { RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import { BackPressure } from "../../../../src/broker/reading/back-pressure.ts";
import { HeldOff } from "../../../../src/broker/reading/held-off.ts";
import { PacketRest, PacketRests } from "../../../../src/broker/reading/packet-rests.ts";
import { makeRoute, type Route } from "../../../../src/broker/routing/route.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import { Flusher } from "../../../../src/broker/sending/flusher.ts";
import { DIRECT_SEND_BYTES_MIN } from "../../../../src/broker/sending/limits.ts";
import type { SocketWatch } from "../../../../src/broker/socket-watch.ts";
import { BACKGROUND_MS_PER_TURN } from "../../../../src/broker/turn-limits.ts";
import { SyscallError } from "../../../../src/errors.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { ConnectionBench } from "../connection-fixture.ts";
import { FrameBuffer } from "../frame-fixture.ts";

const STALL_MS = QUOTA_DEFAULTS.stallMs;

const NO_WATCHES = new SyscallError("epoll_ctl failed", {
  code: "ENOSPC",
  errno: 28,
  syscall: "epoll_ctl",
});

const frames = new FrameBuffer();

let now: number;
let bench: ConnectionBench;
let subscriber: Connection;
let publisher: Connection;
let pressure: BackPressure;
let ended: [Connection, Cause][];
/** Where the publisher's messages go. */
let route: Route;
/** Whether it was told that it waits, or that it goes on. */
let told: boolean[];
let rests: PacketRests;
let background: Background;
/** Milliseconds that pass whenever a route is looked up. */
let routeMs: number;
/** The kernel does not watch it again. */
let unwatchable: Connection | undefined;
/** What is told of each flush, which is nothing where a test tells it itself. */
let noteDrained: (subscriber: Connection) => void;

beforeEach(() => {
  now = 0;
  routeMs = 0;
  ended = [];
  told = [];
  rests = new PacketRests();
  background = new Background();
  bench = new ConnectionBench();
  publisher = bench.connect(1);
  subscriber = bench.connect(2);
  publisher.wantsHeldWord = true;
  route = makeRoute([subscriber], [subscriber]);
  const topic = new Topic(5, "slow");
  const open = { topic, mayPublish: true } as unknown as OpenTopic;
  publisher.openTopics.set(topic.id, open);
  unwatchable = undefined;
  noteDrained = () => {};
  const setHeld = (connection: Connection, isHeld: boolean): void => {
    connection.isHeld = isHeld;
    if (!isHeld && connection === unwatchable) throw NO_WATCHES;
  };
  const watch = { setHeld, watchWritable() {} } as unknown as SocketWatch;
  const flusher = new Flusher(watch, {
    evict: () => {},
    abandon: () => {},
    noteDrained: (connection) => noteDrained(connection),
  });
  pressure = new BackPressure({
    state: { topics: { find: () => topic } },
    router: {
      routeOf: () => {
        now += routeMs;
        return route;
      },
    },
    watch,
    flusher,
    rests,
    now: () => now,
    send: (_, { body }) => void told.push(body?.["isHeld"] === true),
    background,
    budget: { figures: { limit: 1_024, actual: 64 } },
    end: (connection, cause) => {
      ended.push([connection, cause]);
      rests.drop(connection);
    },
  });
});

/** Packets wait for a subscriber, and a publisher for it. */
function hold(packets: number): void {
  bench.socketOf(subscriber).capacity = 0;
  for (let number = 0; number < packets; number += 1) {
    const run = [{ topic: 5, number, bodyBytes: DIRECT_SEND_BYTES_MIN }];
    subscriber.queue.deliver(frames.buffer, 0, frames.messages(run));
  }
  wait(publisher);
}

/** A publisher waits for the subscriber. */
function wait(connection: Connection): void {
  const fds = new KeptFds(
    [],
    () => {},
    () => {},
  );
  const packet = {
    buffer: new PinnedBuffer(16),
    controlTruncated: false,
    receivedFdCount: 0,
    takeFds: () => [],
    closeFds: () => 0,
  };
  const rest = PacketRest.of(packet, 0, 16, fds);
  pressure.hold(connection, rest, { by: [subscriber], topic: "slow" });
}

/** Time passes, in which the broker looks as often as it is due. */
function pass(ms: number): void {
  const end = now + ms;
  while (now < end) {
    now = Math.min(end, Math.max(now + 1, pressure.lookDue));
    pressure.look();
  }
}

describe("BackPressure.look()", () => {
  test("ends a subscriber that takes nothing while a publisher waits for it", () => {
    hold(3);
    pass(STALL_MS - 1);
    expect(ended).toEqual([]);
    pass(2_000);
    const [connection, cause] = ended[0] ?? [];
    expect(connection).toBe(subscriber);
    expect(cause?.code).toBe("LIMIT_SLOW_READER");
    expect(cause?.figures?.actual).toBeGreaterThanOrEqual(STALL_MS);
  });

  test("leaves one alone that is slow and takes a packet now and then, however long", () => {
    hold(20);
    for (let taken = 0; taken < 15; taken += 1) {
      pass(STALL_MS * 0.8);
      bench.socketOf(subscriber).take();
      bench.socketOf(subscriber).capacity = 1;
    }
    expect(ended).toEqual([]);
    expect(subscriber.queue.isEmpty).toBe(false);
    // And then it stands still.
    pass(2 * STALL_MS);
    expect(ended[0]?.[0]).toBe(subscriber);
  });

  test("lets a publisher go on whose messages go to nobody any more that it waits for", () => {
    hold(20);
    pass(2_500);
    route = makeRoute([]);
    pass(1_000);
    expect(rests.has(publisher)).toBe(true);
    expect(subscriber.isHolding).toBe(false);
    expect(told).toEqual([true, false]);
  });

  test("leaves the rest for later where many wait, and ends nobody before it is done", () => {
    subscriber.wantsPause = true;
    hold(1);
    const others = Array.from({ length: 9 }, (_, index) => bench.connect(index + 3));
    for (const other of others) {
      other.openTopics.set(5, publisher.openTopics.get(5) as OpenTopic);
      wait(other);
    }
    const all = [publisher, ...others];
    const freed = () => all.filter((one) => rests.has(one)).length;
    now = 2 * STALL_MS;
    route = makeRoute([]);
    routeMs = BACKGROUND_MS_PER_TURN / 2;
    pressure.look();
    expect([freed(), background.isIdle]).toEqual([2, false]);
    pressure.look();
    expect(freed()).toBe(2);
    // One that goes on in another way meanwhile is not looked at.
    pressure.leave(others[8] as Connection);
    background.run(() => freed() < 5);
    expect(freed()).toBe(5);
    background.run(() => true);
    expect(freed()).toBe(9);
    expect(ended).toEqual([]);
    expect(subscriber.isHolding).toBe(false);
    rests.drop(publisher);
    route = makeRoute([subscriber], [subscriber]);
    wait(publisher);
    route = makeRoute([]);
    pass(2_000);
    expect(rests.has(publisher)).toBe(true);
  });

  test("tells a publisher nothing that waits on, for whomever, and from when it came to wait", () => {
    subscriber.wantsPause = true;
    hold(1);
    pass(2_500);
    route = makeRoute([subscriber, publisher], [subscriber]);
    pass(1_000);
    const next = bench.connect(3);
    next.wantsPause = true;
    route = makeRoute([next], [next]);
    pass(1_000);
    expect(pressure.heldOf(publisher)).toMatchObject({ since: 0, by: [next] });
    expect([subscriber.isHolding, next.isHolding]).toEqual([false, true]);
    expect(told).toEqual([true]);
    next.wantsPause = false;
    pressure.noteDrained(next);
    expect(told).toEqual([true, false]);
  });
});

describe("BackPressure, where siblings of the subscriber use the quota up,", () => {
  const { queuedBytes } = QUOTA_DEFAULTS;
  let sibling: Connection;

  beforeEach(() => {
    noteDrained = (connection) => pressure.noteDrained(connection);
    sibling = bench.connect(3);
    hold(3);
    sibling.quota.impose(RESOURCE.queuedBytes, queuedBytes);
  });

  test("holds on, tells the publisher, and ends a subscriber that takes nothing", () => {
    pass(STALL_MS - 1);
    expect([ended, rests.has(publisher), told]).toEqual([[], false, [true]]);
    pass(1_000);
    expect(ended.map(([connection, { code }]) => [connection.id, code])).toEqual([
      [subscriber.id, "LIMIT_SLOW_READER"],
    ]);
  });

  test("lets publishers go on once a sibling has left room for a packet", () => {
    sibling.quota.release(RESOURCE.queuedBytes, queuedBytes);
    pass(1_000);
    expect(rests.has(publisher)).toBe(true);
  });

  test("lets publishers go on once the subscriber has read all", () => {
    bench.socketOf(subscriber).capacity = 2;
    pass(1_000);
    expect(rests.has(publisher)).toBe(false);
    bench.socketOf(subscriber).capacity = 3;
    pass(1_000);
    expect(rests.has(publisher)).toBe(true);
  });
});

describe("BackPressure.noteDrained()", () => {
  test("lets all others go on where the kernel does not watch one of them again", () => {
    subscriber.wantsPause = true;
    hold(1);
    const others = [bench.connect(3), bench.connect(4)];
    for (const other of others) wait(other);
    unwatchable = publisher;
    subscriber.wantsPause = false;
    pressure.noteDrained(subscriber);
    expect(others.map((other) => [rests.has(other), other.isHeld])).toEqual([
      [true, false],
      [true, false],
    ]);
    expect(rests.has(publisher)).toBe(false);
    expect(ended.map(([connection, { code }]) => [connection.id, code])).toEqual([
      [publisher.id, "LIMIT_CONNECTIONS"],
    ]);
    expect(told).toEqual([]);
  });

  test("drops what one had left to say that ended with another", () => {
    subscriber.wantsPause = true;
    hold(1);
    const other = bench.connect(3);
    wait(other);
    other.state = "DOOMED";
    subscriber.wantsPause = false;
    pressure.noteDrained(subscriber);
    expect([rests.has(publisher), rests.has(other)]).toEqual([true, false]);
  });
});

describe("HeldOff.add()", () => {
  test("frees at once whom a pause held back, and not whom a full queue does", () => {
    const isReadingPaused = true;
    const heldOff = new HeldOff({
      closer: { isFull: () => true, isStuck: () => false },
      watch: { setReadingPaused: (connection) => Object.assign(connection, { isReadingPaused }) },
      backPressure: pressure,
    });
    subscriber.wantsPause = true;
    hold(1);
    heldOff.add(subscriber);
    expect([rests.has(publisher), publisher.isHeld, subscriber.isHolding]).toEqual([
      true,
      false,
      false,
    ]);
    rests.drop(publisher);
    hold(64);
    heldOff.add(subscriber);
    expect([rests.has(publisher), subscriber.isHolding]).toEqual([false, true]);
  });
});
