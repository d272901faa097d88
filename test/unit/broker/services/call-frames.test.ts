/** Frames of calls in a send queue: what does not fit or is refused leaves no gap, but a word. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { FdBundle } from "../../../../src/broker/fds/fd-bundle.ts";
import { SEND_QUEUE_FDS_MAX } from "../../../../src/broker/sending/limits.ts";
import {
  ACCEPTED,
  FDS_NOT_PASSED,
  NO_FD_LANE,
  QUEUE_FULL,
} from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { kindWord } from "../../../../src/protocol/frame.ts";
import { MESSAGE_FDS_MAX } from "../../../../src/protocol/limits.ts";
import { FLAG_FDS_WITHHELD, FLAG_LARGE, OPCODE } from "../../../../src/protocol/opcodes.ts";
import { FrameBuffer, framesOf, numberOf, type SentFrame } from "../frame-fixture.ts";
import { openShare } from "../packet-share-fixture.ts";
import { SimulatedKernel, type SimulatedSocket } from "../simulated-kernel.ts";

const SOCKET_FD = 10;
const LANE_FD = 11;
const TOPIC = 5;

const frames = new FrameBuffer();
let kernel: SimulatedKernel;
let socket: SimulatedSocket;
let queue: SendQueue;

beforeEach(() => {
  kernel = new SimulatedKernel();
  socket = kernel.socket(SOCKET_FD);
  queue = new SendQueue(SOCKET_FD, kernel, openShare(), kernel);
});

/** A reply, with a large body or with files. @returns the outcome, and what carries the fds */
function reply(fdCount: number, isLarge: boolean): [outcome: number, bundle: FdBundle] {
  const bodyBytes = 8;
  const bytes = frames.messages([{ topic: TOPIC, number: 1, bodyBytes, fdCount }]);
  frames.buffer.words[1] = kindWord(OPCODE.REPLY, isLarge ? FLAG_LARGE : 0, fdCount);
  const bundle = kernel.bundle(fdCount, isLarge ? 1 : 0);
  const outcome = queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
  bundle.release();
  return [outcome, bundle];
}

function message(number: number): number {
  const bytes = frames.messages([{ topic: TOPIC, number, bodyBytes: 4 }]);
  return queue.deliver(frames.buffer, 0, bytes);
}

/** All that comes out while the reader takes everything. */
function sent(): SentFrame[] {
  const all: SentFrame[] = [];
  for (;;) {
    queue.flush();
    const frames = socket.take().flatMap(framesOf);
    if (frames.length === 0) return all;
    all.push(...frames);
  }
}

describe("SendQueue.deliverWithFds()", () => {
  test("refuses a reply that does not fit, and takes messages as before", () => {
    socket.capacity = 0;
    let replies = 0;
    for (; reply(MESSAGE_FDS_MAX, false)[0] === ACCEPTED; replies += 1);
    expect(replies).toBe(Math.floor(SEND_QUEUE_FDS_MAX / MESSAGE_FDS_MAX));
    expect(reply(MESSAGE_FDS_MAX, false)[0]).toBe(QUEUE_FULL);
    expect(message(7)).toBe(ACCEPTED);
    socket.capacity = Number.POSITIVE_INFINITY;
    const all = sent();
    expect(all.map(({ opcode }) => opcode)).toEqual([
      ...Array<number>(replies).fill(OPCODE.REPLY),
      OPCODE.MESSAGE,
    ]);
    expect(numberOf(all.at(-1) as SentFrame)).toBe(7);
    expect(kernel.openFds.size).toBe(0);
  });

  test("sends nothing of a large reply whose body the kernel does not pass on", () => {
    socket.refusesFds = true;
    expect(reply(1, true)[0]).toBe(FDS_NOT_PASSED);
    expect(sent()).toEqual([]);
    expect(kernel.openFds.size).toBe(0);
  });

  test.each([
    ["at once", 0],
    ["after waiting", 1],
  ])("says of a large request that its receiver has closed the fd lane, %s", (_when, waiting) => {
    const lane = kernel.socket(LANE_FD);
    queue.outlet.useLane(LANE_FD);
    lane.isPeerGone = true;
    if (waiting > 0) {
      socket.capacity = 0;
      message(1);
    }
    const [outcome, bundle] = reply(1, true);
    const refusals: number[] = [];
    bundle.onRefused = (refusal) => refusals.push(refusal);
    socket.capacity = Number.POSITIVE_INFINITY;
    expect(sent()).toHaveLength(waiting);
    expect([outcome, refusals]).toEqual(waiting > 0 ? [ACCEPTED, [NO_FD_LANE]] : [NO_FD_LANE, []]);
    expect(kernel.openFds.size).toBe(0);
  });

  test("drops a large reply that had to wait, and says so once, at any place in the queue", () => {
    socket.capacity = 0;
    message(1);
    const [outcome, bundle] = reply(1, true);
    expect(outcome).toBe(ACCEPTED);
    let refusals = 0;
    bundle.onRefused = () => {
      refusals += 1;
      // What is queued meanwhile, as an ERROR would be, comes behind.
      const bytes = frames.control(OPCODE.ERROR, 9);
      expect(queue.push(frames.buffer, bytes)).toBe(ACCEPTED);
    };
    socket.refusesFds = true;
    socket.capacity = Number.POSITIVE_INFINITY;
    expect(sent().map(({ opcode }) => opcode)).toEqual([OPCODE.MESSAGE, OPCODE.ERROR]);
    expect(refusals).toBe(1);
    expect(queue).toMatchObject({ isEmpty: true, queuedBytes: 0, queuedFds: 0 });
    expect(queue.queuedMemoryBytes).toBe(0);
    expect(kernel.openFds.size).toBe(0);
  });

  test("drops a large reply that has waited too long, and what is behind it goes out", () => {
    socket.capacity = 0;
    message(1);
    const [, bundle] = reply(1, true);
    let refusals = 0;
    bundle.onRefused = () => {
      refusals += 1;
    };
    reply(2, false);
    expect(queue.expireFds(1)).toBe(3);
    expect(refusals).toBe(1);
    expect(kernel.openFds.size).toBe(0);
    socket.capacity = Number.POSITIVE_INFINITY;
    expect(sent()).toMatchObject([
      { opcode: OPCODE.MESSAGE },
      { opcode: OPCODE.REPLY, flags: FLAG_FDS_WITHHELD },
    ]);
    expect(queue).toMatchObject({ isEmpty: true, queuedBytes: 0, queuedFds: 0 });
  });

  test("withholds files that the kernel does not pass on, and the reply goes out", () => {
    socket.refusesFds = true;
    expect(reply(2, false)[0]).toBe(ACCEPTED);
    expect(sent()).toMatchObject([{ opcode: OPCODE.REPLY, flags: FLAG_FDS_WITHHELD, fdCount: 0 }]);
    expect(frames.buffer.words[1]).toBe(kindWord(OPCODE.REPLY, 0, 2));
  });
});
