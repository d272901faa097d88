/**
 * Whatever is dropped: what must stay stays in order, and of each topic gaps and messages account for
 * every message in its place.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
} from "../../../../src/broker/sending/limits.ts";
import { PacketPool } from "../../../../src/broker/sending/packet-pool.ts";
import { compactPackets } from "../../../../src/broker/sending/queue-compaction.ts";
import { ACCEPTED } from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { FRAME_ORIGIN_WORD } from "../../../../src/protocol/frame.ts";
import { GAP_REASON, OPCODE } from "../../../../src/protocol/opcodes.ts";
import type { OverflowPolicy } from "../../../../src/protocol/words.ts";
import { FrameBuffer, framesOf, gapCountOf, numberOf, type SentFrame } from "../frame-fixture.ts";
import { openShare } from "../packet-share-fixture.ts";
import { SimulatedKernel } from "../simulated-kernel.ts";

const FD = 10;
const BODIES = [4, 100, 3_000, 20_000, 60_000];
const KEPT_IDS = [1, 2];
const DROPPED_IDS = [3, 4];
const LATEST_IDS = [5, 6, 7];
const MANY_LATEST = 100;

/** Nothing goes for want of room. */
const ALL_MAY_STAY = {
  bytes: SEND_QUEUE_BYTES_MAX,
  fds: 0,
  memoryBytes: 0,
  latestBytes: SEND_QUEUE_BYTES_MAX,
};

/** Publishers. */
const ORIGINS = 3;

function overflowOf(id: number): OverflowPolicy | undefined {
  if (DROPPED_IDS.includes(id)) return "drop-oldest";
  return LATEST_IDS.includes(id) || id >= MANY_LATEST ? "latest-per-topic" : undefined;
}

const topic = fc.oneof(
  fc.constantFrom(...KEPT_IDS, ...DROPPED_IDS, ...LATEST_IDS),
  fc.integer({ min: MANY_LATEST, max: MANY_LATEST + 200 }),
);
const message = fc.record({
  topic,
  bodyBytes: fc.constantFrom(...BODIES),
  fdCount: fc.constantFrom(0, 0, 0, 1, 2),
});
const step = fc.oneof(
  { weight: 20, arbitrary: message },
  { weight: 1, arbitrary: fc.constant("control" as const) },
  { weight: 1, arbitrary: fc.constant("read" as const) },
);

/** A subscriber's books: what it may expect next of each topic. */
class Books {
  readonly #published = new Map<number, number[]>();
  readonly #told = new Map<number, number>();
  #missing = 0;
  #severalTold = 0;
  /** Of topics that keep the latest: the last that came. */
  readonly latest = new Map<number, number>();

  publish(id: number, number: number): void {
    const numbers = this.#published.get(id) ?? [];
    numbers.push(number);
    this.#published.set(id, numbers);
  }

  read(frame: SentFrame): void {
    const { id } = frame;
    if (frame.opcode === OPCODE.GAP) {
      const count = gapCountOf(frame);
      if (id === 0) this.#severalTold += count;
      else this.#told.set(id, (this.#told.get(id) ?? 0) + count);
    }
    if (frame.opcode !== OPCODE.MESSAGE) return;
    const number = numberOf(frame);
    const waiting = this.#published.get(id) ?? [];
    const at = waiting.indexOf(number);
    expect(at).toBeGreaterThanOrEqual(0);
    const told = this.#told.get(id) ?? 0;
    expect(told).toBeLessThanOrEqual(at);
    this.#missing += at - told;
    expect(this.#missing).toBeLessThanOrEqual(this.#severalTold);
    waiting.splice(0, at + 1);
    this.#told.delete(id);
    this.latest.set(id, number);
  }

  /** Everything was read: the rest must have been told. */
  close(): void {
    for (const [id, waiting] of this.#published) {
      const told = this.#told.get(id) ?? 0;
      expect(told).toBeLessThanOrEqual(waiting.length);
      this.#missing += waiting.length - told;
    }
    expect(this.#missing).toBe(this.#severalTold);
  }
}

test("SendQueue drops what may go, keeps the rest in order, and tells every loss in its place", () => {
  let compacted = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 200, maxLength: 600, size: "max" }), (steps) => {
      const kernel = new SimulatedKernel();
      const socket = kernel.socket(FD);
      const pool = new PacketPool();
      const queue = new SendQueue(FD, kernel, openShare(pool), kernel);
      const frames = new FrameBuffer();
      const books = new Books();
      const controls: number[] = [];
      const seenControls: number[] = [];
      const accounts = new Map<number, number>();
      const book = (origin: number, count: number) =>
        void accounts.set(origin, (accounts.get(origin) ?? 0) + count);
      queue.onLost = ({ origin, lostLater, superseded }) => book(origin, -lostLater - superseded);
      let charged = 0;
      const release = (copies: number) => {
        charged -= copies;
      };
      const payer = { release, expire: release };
      const read = () => {
        for (const frame of socket.take().flatMap(framesOf)) {
          if (frame.opcode === OPCODE.SENDER_GONE) seenControls.push(frame.id);
          if (frame.opcode === OPCODE.GAP && !KEPT_IDS.includes(frame.id)) compacted += 1;
          books.read(frame);
          if (frame.opcode === OPCODE.MESSAGE) book(frame.origin, -1);
        }
      };
      for (let id = 1; id < MANY_LATEST + 201; id += 1) {
        queue.setOverflow(id, overflowOf(id) ?? "drop-newest");
      }
      socket.capacity = 0;
      steps.forEach((action, number) => {
        if (action === "control") {
          controls.push(number);
          queue.push(frames.buffer, frames.control(OPCODE.SENDER_GONE, number));
        } else if (action === "read") {
          socket.capacity = 5;
          queue.flush();
          read();
          socket.capacity = 0;
        } else {
          books.publish(action.topic, number);
          const bytes = frames.messages([{ ...action, number }]);
          const origin = 1 + (number % ORIGINS);
          frames.buffer.words[FRAME_ORIGIN_WORD] = origin;
          if (action.fdCount === 0) {
            if (queue.deliver(frames.buffer, 0, bytes) === ACCEPTED) book(origin, 1);
          } else {
            charged += action.fdCount;
            const bundle = kernel.bundle(action.fdCount, 0, payer);
            const outcome = queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
            if (outcome === ACCEPTED) book(origin, 1);
            bundle.release();
          }
        }
        expect(queue.queuedBytes).toBeLessThanOrEqual(SEND_QUEUE_BYTES_MAX + 64 * 1024);
      });
      socket.capacity = Number.POSITIVE_INFINITY;
      queue.flush();
      queue.flush();
      read();
      books.close();
      expect([...accounts.values()].every((count) => count === 0)).toBe(true);
      expect(seenControls).toEqual(controls);
      expect(queue.queuedBytes).toBe(0);
      expect(queue.queuedFds).toBe(0);
      expect(pool.backlogBytes).toBe(0);
      expect(kernel.openFds.size).toBe(0);
      queue.outlet.look();
      expect(charged).toBe(0);
    }),
    { numRuns: 40, endOnFailure: true, includeErrorInReport: true },
  );
  expect(compacted).toBeGreaterThan(0);
});

/** A blocked queue with one policy for topic 1. */
function blockedQueue(overflow: OverflowPolicy) {
  const kernel = new SimulatedKernel();
  const socket = kernel.socket(FD);
  const queue = new SendQueue(FD, kernel, openShare(), kernel);
  const frames = new FrameBuffer();
  socket.capacity = 0;
  for (let id = 1; id <= 500; id += 1) queue.setOverflow(id, overflow);
  const deliver = (number: number, id: number, bodyBytes: number) =>
    queue.deliver(frames.buffer, 0, frames.messages([{ topic: id, number, bodyBytes }]));
  const drain = () => {
    socket.capacity = Number.POSITIVE_INFINITY;
    queue.flush();
    return socket.take().flatMap(framesOf);
  };
  return { queue, deliver, drain };
}

test("SendQueue drops the oldest down to half, told once at the front", () => {
  const { queue, deliver, drain } = blockedQueue("drop-oldest");
  const count = 10_000;
  for (let number = 0; number < count; number += 1) deliver(number, 1, 1_008);
  expect(queue.queuedBytes).toBeGreaterThan(SEND_QUEUE_BYTES_RESUME - 2_048);
  const frames = drain();
  const [gap, ...messages] = frames;
  expect(gap?.opcode).toBe(OPCODE.GAP);
  const lost = gap === undefined ? 0 : gapCountOf(gap);
  expect(messages.map(numberOf)).toEqual(
    Array.from({ length: count - lost }, (_, index) => lost + index),
  );
});

test("SendQueue keeps the newest message of each topic, however long its reader stands still", () => {
  const { deliver, drain } = blockedQueue("latest-per-topic");
  const topics = 300;
  const count = 60_000;
  for (let number = 0; number < count; number += 1) deliver(number, 1 + (number % topics), 1_008);
  const newest = new Map<number, number>();
  let told = 0;
  let messages = 0;
  for (const frame of drain()) {
    if (frame.opcode === OPCODE.GAP) {
      told += gapCountOf(frame);
      const reason = frame.body.at(-1);
      expect(reason).toBe(GAP_REASON.SUPERSEDED);
    } else {
      newest.set(frame.id, numberOf(frame));
      messages += 1;
    }
  }
  expect(told + messages).toBe(count);
  expect([...newest.values()].sort((a, b) => a - b)).toEqual(
    Array.from({ length: topics }, (_, index) => count - topics + index),
  );
});

test("compactPackets() leaves what has an id from before it was given to another topic", () => {
  const kernel = new SimulatedKernel();
  const socket = kernel.socket(FD);
  const pool = openShare();
  const queue = new SendQueue(FD, kernel, pool, kernel);
  const frames = new FrameBuffer();
  socket.capacity = 0;
  const packet = pool.acquire(false);
  if (packet === undefined) throw new Error("The pool is empty");
  const add = (bytes: number) => {
    packet.buffer.bytes.set(frames.buffer.bytes.subarray(0, bytes), packet.bytes);
    packet.bytes += bytes;
  };
  const publish = (number: number) => add(frames.messages([{ topic: 5, number, bodyBytes: 8 }]));
  publish(1);
  publish(2);
  add(frames.control(OPCODE.TOPIC, 5));
  publish(3);
  publish(4);
  const { kept } = compactPackets([packet], { overflowOf, pool, target: ALL_MAY_STAY });
  const seen = kept.flatMap(({ buffer, bytes }) =>
    framesOf({ bytes: buffer.bytes.slice(0, bytes), fds: [] }),
  );
  const story = seen.map((frame) =>
    frame.opcode === OPCODE.MESSAGE ? numberOf(frame) : frame.opcode,
  );
  expect(story).toEqual([1, 2, OPCODE.TOPIC, OPCODE.GAP, 4]);
  expect(queue.isEmpty).toBe(true);
});
