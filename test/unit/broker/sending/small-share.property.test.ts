/**
 * However little a queue may hold, and however that changes: under drop-oldest and latest-per-topic it
 * is never the newest message that is lost.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  COMPACTION_SHARE,
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
} from "../../../../src/broker/sending/limits.ts";
import { ACCEPTED } from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { PACKET_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import { GAP_REASON, OPCODE } from "../../../../src/protocol/opcodes.ts";
import type { OverflowPolicy } from "../../../../src/protocol/words.ts";
import { FrameBuffer, framesOf, gapCountOf, numberOf, type SentFrame } from "../frame-fixture.ts";
import { type SharedQuota, shareWithSibling } from "../packet-share-fixture.ts";
import { SimulatedKernel } from "../simulated-kernel.ts";

const FD = 10;
const DROPPED_IDS = [1, 2];
const LATEST_IDS = [3, 4, 5];

/** Bytes that one uid may hold: nothing, one packet for each of two, and up to what is no limit. */
const LIMITS = [
  0,
  2 * PACKET_BYTES_MAX,
  5 * PACKET_BYTES_MAX,
  1024 * 1024,
  4 * 1024 * 1024,
  64 * 1024 * 1024,
];

interface Publication {
  readonly topic: number;
  readonly number: number;
  readonly bodyBytes: number;
  readonly fdCount?: number;
}

/** A queue whose socket takes nothing, beside a sibling. */
function blockedQueue({ share }: SharedQuota, overflowOf: (id: number) => OverflowPolicy) {
  const kernel = new SimulatedKernel();
  const socket = kernel.socket(FD);
  const queue = new SendQueue(FD, kernel, share, kernel);
  const frames = new FrameBuffer();
  socket.capacity = 0;
  for (let id = 1; id <= 500; id += 1) queue.setOverflow(id, overflowOf(id));
  const publish = (publication: Publication): number => {
    const bytes = frames.messages([publication]);
    const { fdCount = 0 } = publication;
    if (fdCount === 0) return queue.deliver(frames.buffer, 0, bytes);
    const payer = { release: () => {}, expire: () => {} };
    const bundle = kernel.bundle(fdCount, 0, payer);
    const outcome = queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
    bundle.release();
    return outcome;
  };
  const drain = (): SentFrame[] => {
    socket.capacity = Number.POSITIVE_INFINITY;
    queue.flush();
    const seen = socket.take().flatMap(framesOf);
    socket.capacity = 0;
    return seen;
  };
  return { queue, publish, drain };
}

const messagesOf = (frames: readonly SentFrame[]) =>
  frames.filter(({ opcode }) => opcode === OPCODE.MESSAGE);

const publication = fc.record({
  topic: fc.constantFrom(...DROPPED_IDS, ...LATEST_IDS),
  bodyBytes: fc.constantFrom(4, 100, 1_000, 3_000, 20_000, 33_000, 60_000),
  fdCount: fc.constantFrom(0, 0, 0, 0, 1, 2),
});
const step = fc.oneof(
  { weight: 30, arbitrary: publication },
  { weight: 1, arbitrary: fc.constant("read" as const) },
  { weight: 1, arbitrary: fc.record({ siblingPercent: fc.integer({ min: 0, max: 120 }) }) },
);

test("SendQueue takes each message that may drop older ones, whatever its siblings leave it", () => {
  let dropped = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...LIMITS),
      fc.array(step, { minLength: 100, maxLength: 500, size: "max" }),
      (limit, steps) => {
        const quota = shareWithSibling(limit);
        const overflowOf = (id: number) =>
          LATEST_IDS.includes(id) ? "latest-per-topic" : "drop-oldest";
        const { publish, drain, queue } = blockedQueue(quota, overflowOf);
        let newest = -1;
        const read = () => {
          const frames = drain();
          dropped += frames.filter(({ opcode }) => opcode === OPCODE.GAP).length;
          if (frames.length === 0) return;
          const last = messagesOf(frames).at(-1);
          expect(last === undefined ? -1 : numberOf(last)).toBe(newest);
        };
        steps.forEach((action, number) => {
          if (action === "read") read();
          else if ("siblingPercent" in action) {
            quota.holdBySibling(Math.floor((limit * action.siblingPercent) / 100));
          } else {
            expect(publish({ ...action, number })).toBe(ACCEPTED);
            newest = number;
          }
          expect(queue.queuedBytes).toBeLessThanOrEqual(SEND_QUEUE_BYTES_MAX);
        });
        read();
        quota.holdBySibling(0);
        expect(quota.pool.backlogBytes).toBe(0);
      },
    ),
    { numRuns: 100, endOnFailure: true, includeErrorInReport: true },
  );
  expect(dropped).toBeGreaterThan(0);
});

for (const limit of LIMITS) {
  test(`SendQueue keeps the newest of each of 30 topics where a uid may hold ${limit} bytes`, () => {
    const { publish, drain } = blockedQueue(shareWithSibling(limit), () => "latest-per-topic");
    const topics = 30;
    const count = 20_000;
    for (let number = 0; number < count; number += 1) {
      expect(publish({ topic: 1 + (number % topics), number, bodyBytes: 1_008 })).toBe(ACCEPTED);
    }
    const newest = new Map<number, number>();
    let told = 0;
    const frames = drain();
    for (const frame of frames) {
      if (frame.opcode === OPCODE.GAP) {
        expect(frame.body.at(-1)).toBe(GAP_REASON.SUPERSEDED);
        told += gapCountOf(frame);
      } else newest.set(frame.id, numberOf(frame));
    }
    expect(told + messagesOf(frames).length).toBe(count);
    expect([...newest.values()].sort((a, b) => a - b)).toEqual(
      Array.from({ length: topics }, (_, index) => count - topics + index),
    );
  });
}

test("SendQueue that may hold little drops half of that, and not for each message", () => {
  for (const limit of LIMITS) {
    const quota = shareWithSibling(limit);
    const { publish, queue } = blockedQueue(quota, () => "drop-oldest");
    let bytesGoneThrough = 0;
    let bytesPublished = 0;
    let bytesLeft = Number.POSITIVE_INFINITY;
    for (let number = 0; number < 20_000; number += 1) {
      const before = queue.queuedBytes;
      publish({ topic: 1, number, bodyBytes: 1_008 });
      bytesPublished += 1_024;
      if (queue.queuedBytes >= before) continue;
      bytesGoneThrough += before;
      bytesLeft = Math.min(bytesLeft, queue.queuedBytes);
    }
    const half = Math.min(SEND_QUEUE_BYTES_RESUME, quota.share.bytesMax / 2);
    // Of one or two packets none can be cut in half.
    expect(bytesLeft).toBeGreaterThan(limit < 1024 * 1024 ? half / 8 : half - 2_048);
    expect(bytesLeft).toBeLessThan(half + 2_048);
    expect(bytesGoneThrough).toBeLessThan(COMPACTION_SHARE * bytesPublished);
  }
});
