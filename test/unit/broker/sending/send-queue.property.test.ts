/**
 * Whatever the kernel does, the receiver sees every message in order, or a gap in the place of the
 * missing ones that counts exactly them; and every fd is closed once.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { FDS_UNTAKEN_MAX } from "../../../../src/broker/fds/limits.ts";
import { GAP_TOPICS_MAX } from "../../../../src/broker/sending/limits.ts";
import { PacketPool } from "../../../../src/broker/sending/packet-pool.ts";
import { PEER_GONE, QUEUE_FULL } from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { FLAG_FDS_ON_LANE, OPCODE } from "../../../../src/protocol/opcodes.ts";
import { FrameBuffer, framesOf, gapCountOf, numberOf, type SentFrame } from "../frame-fixture.ts";
import { openShare } from "../packet-share-fixture.ts";
import { SimulatedKernel, type SimulatedSocket } from "../simulated-kernel.ts";

const SOCKET_FD = 10;
const LANE_FD = 11;
const TOPICS = 5;

type Step =
  | {
      readonly do: "deliver";
      readonly topic: number;
      readonly count: number;
      readonly size: number;
    }
  | { readonly do: "deliverWithFds"; readonly topic: number; readonly fds: number }
  | { readonly do: "control" }
  | { readonly do: "expire" }
  | { readonly do: "flush" }
  | { readonly do: "read"; readonly capacity: number; readonly laneCapacity: number }
  | { readonly do: "fail"; readonly times: number }
  | { readonly do: "refuseFds"; readonly refuses: boolean };

const topic = fc.integer({ min: 1, max: TOPICS });
const capacity = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 }));

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("deliver" as const),
      topic,
      count: fc.integer({ min: 1, max: 12 }),
      size: fc.constantFrom(4, 100, 1_000, 5_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("deliverWithFds" as const),
      topic,
      fds: fc.constantFrom(1, 2, 253),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("control" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("read" as const), capacity, laneCapacity: capacity }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("fail" as const),
      times: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("expire" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("refuseFds" as const), refuses: fc.boolean() }),
  },
);

/** One queue, its kernel, and a reader that keeps the books. */
class Bench {
  readonly kernel = new SimulatedKernel();
  readonly socket: SimulatedSocket;
  readonly lane: SimulatedSocket;
  readonly pool = new PacketPool();
  readonly queue: SendQueue;
  readonly #frames = new FrameBuffer();
  readonly #usesLane: boolean;
  /** Topic and fd count of each message, by number. */
  readonly #published: { topic: number; fdCount: number }[] = [];
  #laneRecords = 0;
  /** Losses that gaps told since the last message, by topic. */
  #told = new Map<number, number>();
  #nextNumber = 0;
  /** Copies of fds that their publisher pays for. */
  charged = 0;
  /** What deliver() called lost. */
  lost = 0;
  /** What gaps called lost. */
  toldLost = 0;

  constructor(usesLane: boolean) {
    this.socket = this.kernel.socket(SOCKET_FD);
    this.lane = this.kernel.socket(LANE_FD);
    this.queue = new SendQueue(SOCKET_FD, this.kernel, openShare(this.pool), this.kernel);
    this.#usesLane = usesLane;
    if (usesLane) this.queue.outlet.useLane(LANE_FD);
  }

  run(action: Step): void {
    switch (action.do) {
      case "deliver":
        return this.#deliver(action);
      case "deliverWithFds":
        return this.#deliverWithFds(action);
      case "control":
        this.queue.push(this.#frames.buffer, this.#frames.control(OPCODE.SENDER_GONE, 1));
        return;
      case "flush":
        this.queue.flush();
        return;
      case "expire":
        this.queue.expireFds(this.kernel.fdClock);
        return;
      case "read":
        this.read();
        this.socket.capacity = action.capacity;
        this.lane.capacity = action.laneCapacity;
        return;
      case "fail":
        this.socket.failuresAhead = action.times;
        this.lane.failuresAhead = action.times;
        return;
      case "refuseFds":
        this.socket.refusesFds = action.refuses;
        this.lane.refusesFds = action.refuses;
    }
  }

  /** Everything leaves and is read; then the books must be even. */
  finish(): void {
    this.run({
      do: "read",
      capacity: Number.POSITIVE_INFINITY,
      laneCapacity: Number.POSITIVE_INFINITY,
    });
    this.socket.failuresAhead = 0;
    this.lane.failuresAhead = 0;
    this.#readAll();
    // A last message closes a gap at the very end.
    this.#deliver({ topic: 1, count: 1, size: 4 });
    this.#readAll();
    this.queue.outlet.look();
    expect([this.queue.outlet.untakenFds, this.queue.oldestFdsAt()]).toEqual([
      0,
      Number.POSITIVE_INFINITY,
    ]);
    expect(this.charged).toBe(0);
    expect(this.#nextNumber).toBe(this.#published.length);
    expect(this.toldLost).toBe(this.lost);
    expect(this.kernel.openFds.size).toBe(0);
    expect(this.pool.backlogBytes).toBe(0);
    expect(this.lane.records).toEqual([]);
  }

  /** Fds beyond FDS_UNTAKEN_MAX leave only when those before them are taken. */
  #readAll(): void {
    do {
      this.queue.flush();
      this.read();
    } while (!this.queue.isEmpty);
  }

  /** Takes what is there and checks it against what was published. */
  read(): void {
    for (const record of this.socket.take()) {
      for (const frame of framesOf(record)) this.#readFrame(frame, record.fds.length);
    }
  }

  #deliver({ topic: id, count, size }: { topic: number; count: number; size: number }): void {
    const messages = Array.from({ length: count }, () => {
      this.#published.push({ topic: id, fdCount: 0 });
      return { topic: id, number: this.#published.length - 1, bodyBytes: size };
    });
    const bytes = this.#frames.messages(messages);
    if (this.queue.deliver(this.#frames.buffer, 0, bytes) === QUEUE_FULL) this.lost += count;
  }

  #deliverWithFds({ topic: id, fds }: { topic: number; fds: number }): void {
    const release = (copies: number) => {
      this.charged -= copies;
    };
    this.charged += fds;
    const bundle = this.kernel.bundle(fds, 0, { release, expire: release });
    this.#published.push({ topic: id, fdCount: fds });
    const number = this.#published.length - 1;
    const bytes = this.#frames.messages([{ topic: id, number, bodyBytes: 4, fdCount: fds }]);
    const outcome = this.queue.deliverWithFds(this.#frames.buffer, 0, bytes, bundle);
    if (outcome === QUEUE_FULL) this.lost += 1;
    bundle.release();
    expect(this.queue.outlet.untakenFds).toBeLessThanOrEqual(FDS_UNTAKEN_MAX);
    expect(this.charged).toBe(this.queue.queuedFds + this.queue.outlet.untakenFds);
  }

  #readFrame(frame: SentFrame, inBandFds: number): void {
    if (frame.opcode === OPCODE.GAP) {
      const count = gapCountOf(frame);
      this.toldLost += count;
      this.#told.set(frame.id, (this.#told.get(frame.id) ?? 0) + count);
    }
    if (frame.opcode !== OPCODE.MESSAGE) return;
    const number = numberOf(frame);
    const missing = new Map<number, number>();
    for (; this.#nextNumber < number; this.#nextNumber += 1) {
      const lostTopic = this.#published[this.#nextNumber]?.topic ?? 0;
      missing.set(lostTopic, (missing.get(lostTopic) ?? 0) + 1);
    }
    expect(number).toBe(this.#nextNumber);
    expect(this.#told).toEqual(missing);
    this.#told = new Map();
    this.#nextNumber += 1;
    this.#checkFds(frame, inBandFds, this.#published[number]?.fdCount ?? 0);
  }

  /** All of them, in-band or in the next lane record, or none and the flag. */
  #checkFds(frame: SentFrame, inBandFds: number, sentFds: number): void {
    if ((frame.flags & FLAG_FDS_ON_LANE) !== 0) {
      const record = this.lane.records.shift();
      this.#laneRecords += 1;
      const words = new Uint32Array((record?.bytes ?? new Uint8Array(8)).slice().buffer);
      expect([...words]).toEqual([this.#laneRecords, sentFds]);
      expect(record?.fds).toHaveLength(sentFds);
      expect(this.#usesLane).toBe(true);
    } else if (frame.fdCount > 0) {
      expect([frame.fdCount, inBandFds]).toEqual([sentFds, sentFds]);
      expect(this.#usesLane).toBe(false);
    } else expect(frame.flags !== 0).toBe(sentFds > 0);
  }
}

test("SendQueue brings every message in order or a gap that counts the missing ones", () => {
  let losses = 0;
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(step, { minLength: 50, maxLength: 400, size: "max" }),
      (usesLane, steps) => {
        const bench = new Bench(usesLane);
        for (const action of steps) bench.run(action);
        bench.finish();
        losses += bench.lost;
      },
    ),
    { numRuns: 60, includeErrorInReport: true },
  );
  expect(losses).toBeGreaterThan(0);
});

test("SendQueue lets go of every fd and packet wherever the peer goes away", () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(step, { minLength: 1, maxLength: 100 }),
      fc.array(step, { maxLength: 20 }),
      (usesLane, before, after) => {
        const bench = new Bench(usesLane);
        for (const action of before) bench.run(action);
        bench.socket.isPeerGone = true;
        bench.lane.isPeerGone = true;
        for (const action of after) bench.run(action);
        bench.queue.abandon();
        expect(bench.queue.deliver(new PinnedBuffer(16), 0, 16)).toBe(PEER_GONE);
        bench.queue.outlet.disown(false);
        expect(bench.charged).toBe(0);
        expect(bench.kernel.openFds.size).toBe(0);
        expect(bench.pool.backlogBytes).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
});

test("SendQueue tells losses on many topics without counting any twice", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3 * GAP_TOPICS_MAX }), (topics) => {
      const kernel = new SimulatedKernel();
      const socket = kernel.socket(SOCKET_FD);
      const queue = new SendQueue(SOCKET_FD, kernel, openShare(), kernel);
      const frames = new FrameBuffer();
      socket.capacity = 0;
      const fill = () => [{ topic: 1, number: 0, bodyBytes: 65_000 }];
      while (queue.deliver(frames.buffer, 0, frames.messages(fill())) !== QUEUE_FULL);
      for (let id = 2; id <= topics; id += 1) {
        const bytes = frames.messages([{ topic: id, number: 0, bodyBytes: 4 }]);
        expect(queue.deliver(frames.buffer, 0, bytes)).toBe(QUEUE_FULL);
      }
      socket.capacity = Number.POSITIVE_INFINITY;
      queue.flush();
      const gaps = socket
        .take()
        .flatMap(framesOf)
        .filter(({ opcode }) => opcode === OPCODE.GAP);
      expect(gaps.reduce((sum, gap) => sum + gapCountOf(gap), 0)).toBe(topics);
      expect(new Set(gaps.map(({ id }) => id)).size).toBe(gaps.length);
      expect(gaps.length).toBe(Math.min(topics, GAP_TOPICS_MAX + 1));
    }),
    { numRuns: 15 },
  );
});
