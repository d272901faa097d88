/** Messages with fds that wait for each other within a turn, and leave by one call. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { FdPayer } from "../../../../src/broker/fds/fd-bundle.ts";
import { Quotas } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import { FDS_WAITING_TOGETHER } from "../../../../src/broker/sending/limits.ts";
import { PacketPool } from "../../../../src/broker/sending/packet-pool.ts";
import { ACCEPTED, BLOCKED, PEER_GONE } from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { RECORD_FDS_TOGETHER_MAX, type RecordLine } from "../../../../src/ffi/several-records.ts";
import { FLAG_FDS_WITHHELD } from "../../../../src/protocol/opcodes.ts";
import { FrameBuffer, framesOf, numberOf } from "../frame-fixture.ts";
import { openShare } from "../packet-share-fixture.ts";
import { SimulatedKernel, type SimulatedSocket } from "../simulated-kernel.ts";

const SOCKET_FD = 10;
const LANE_FD = 11;
const TOPIC = 5;

/** A kernel that sends several records by one call, told that more messages may follow. */
class BatchingKernel extends SimulatedKernel {
  fdsFollow = true;
  /** Records sent by each batch. */
  readonly batches: number[] = [];

  sendPacketsWithFds(fd: number, records: RecordLine, count: number): number {
    let sent = 0;
    for (; sent < count; sent += 1) {
      const record = records.at(sent);
      if (record === undefined) throw new Error("A batch has as many records as it says");
      const { buffer, bytes, fds } = record;
      if (this.sendPacketWithFds(fd, buffer, 0, bytes, fds) < 0) break;
    }
    this.batches.push(sent);
    return sent;
  }
}

const frames = new FrameBuffer();
let kernel: BatchingKernel;
let socket: SimulatedSocket;
let queue: SendQueue;
let charged: number;
const payer: FdPayer = {
  release: (copies) => {
    charged -= copies;
  },
  expire: (copies) => {
    charged -= copies;
  },
};

beforeEach(() => {
  kernel = new BatchingKernel();
  socket = kernel.socket(SOCKET_FD);
  queue = new SendQueue(SOCKET_FD, kernel, openShare(new PacketPool()), kernel);
  charged = 0;
});

function deliverWithFds(number: number, fdCount = 1): number {
  const bundle = kernel.bundle(fdCount, 0, payer);
  charged += fdCount;
  const bytes = frames.messages([{ topic: TOPIC, number, bodyBytes: 8, fdCount }]);
  const outcome = queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
  bundle.release();
  return outcome;
}

function numbers(): number[] {
  return socket.records.flatMap(framesOf).map(numberOf);
}

describe("SendQueue, while more messages with fds may follow", () => {
  test("sends them together at the flush, in order, and closes them then", () => {
    for (const number of [1, 2, 3]) expect(deliverWithFds(number)).toBe(ACCEPTED);
    expect(socket.records).toEqual([]);
    expect(kernel.openFds.size).toBe(3);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(kernel.batches).toEqual([3]);
    expect(numbers()).toEqual([1, 2, 3]);
    expect(kernel.openFds.size).toBe(0);
  });

  test("keeps them charged until they are taken", () => {
    for (const number of [1, 2, 3]) deliverWithFds(number);
    queue.flush();
    expect(charged).toBe(3);
    socket.take();
    queue.outlet.look();
    expect(charged).toBe(0);
  });

  test("sends what waits before it looks what was taken, for a quota that runs short", () => {
    for (const number of [1, 2, 3]) deliverWithFds(number);
    queue.lookForTaken();
    expect(numbers()).toEqual([1, 2, 3]);
    expect(charged).toBe(3);
    socket.take();
    queue.lookForTaken();
    expect(charged).toBe(0);
  });

  test("sends one at once where none follows, as long as nothing waits", () => {
    kernel.fdsFollow = false;
    deliverWithFds(1);
    kernel.fdsFollow = true;
    deliverWithFds(2);
    kernel.fdsFollow = false;
    deliverWithFds(3);
    expect(numbers()).toEqual([1]);
    queue.flush();
    expect(numbers()).toEqual([1, 2, 3]);
  });

  test("leaves those with many fds, and other frames, in their place", () => {
    deliverWithFds(1);
    deliverWithFds(2);
    deliverWithFds(3, RECORD_FDS_TOGETHER_MAX + 1);
    queue.deliver(frames.buffer, 0, frames.messages([{ topic: TOPIC, number: 4, bodyBytes: 8 }]));
    deliverWithFds(5);
    deliverWithFds(6);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(numbers()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(kernel.batches).toEqual([2, 2]);
  });

  test("goes on where the socket was full, with none lost or sent twice", () => {
    for (const number of [1, 2, 3, 4]) deliverWithFds(number);
    socket.capacity = 2;
    expect(queue.flush()).toBe(BLOCKED);
    expect(queue.blockedFd).toBe(SOCKET_FD);
    expect(socket.take().flatMap(framesOf).map(numberOf)).toEqual([1, 2]);
    expect(kernel.openFds.size).toBe(2);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(numbers()).toEqual([3, 4]);
    expect(kernel.openFds.size).toBe(0);
  });

  test("marks those that the kernel does not pass on, each by itself", () => {
    for (const number of [1, 2]) deliverWithFds(number);
    socket.refusesFds = true;
    expect(queue.flush()).toBe(ACCEPTED);
    const flags = socket.records.flatMap(framesOf).map((frame) => frame.flags & FLAG_FDS_WITHHELD);
    expect(flags).toEqual([FLAG_FDS_WITHHELD, FLAG_FDS_WITHHELD]);
    expect([kernel.refusedFds, kernel.openFds.size, charged]).toEqual([2, 0, 0]);
  });

  test("tells that the peer has gone, and closes what waited", () => {
    for (const number of [1, 2]) deliverWithFds(number);
    socket.isPeerGone = true;
    expect(queue.flush()).toBe(PEER_GONE);
    queue.abandon();
    expect([kernel.openFds.size, charged]).toEqual([0, 0]);
  });

  test("lets only so many wait", () => {
    for (let number = 1; number <= FDS_WAITING_TOGETHER + 1; number += 1) deliverWithFds(number);
    expect(numbers()).toHaveLength(FDS_WAITING_TOGETHER);
    expect(queue.queuedFds).toBe(1);
  });

  test("does not drop for want of quota what the socket takes", () => {
    const quota = new Quotas(() => ({ ...QUOTA_DEFAULTS, queuedBytes: 64 })).open(0);
    queue = new SendQueue(SOCKET_FD, kernel, new PacketPool().open(quota), kernel);
    for (let number = 1; number <= 8; number += 1) expect(deliverWithFds(number)).toBe(ACCEPTED);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(numbers()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("sends one by one on the lane", () => {
    const lane = kernel.socket(LANE_FD);
    queue.outlet.useLane(LANE_FD);
    for (const number of [1, 2]) deliverWithFds(number);
    expect(queue.flush()).toBe(ACCEPTED);
    expect([lane.records.length, kernel.batches.length]).toEqual([2, 0]);
    expect(numbers()).toEqual([1, 2]);
  });
});

test("PacketShare gives a short packet of its own size out again, with the room that is asked for", () => {
  const share = openShare(new PacketPool());
  const first = share.acquireSized(80, false);
  first.bytes = 80;
  expect(first.room).toBe(0);
  share.release(first);
  const second = share.acquireSized(96, true);
  expect(second).toBe(first);
  expect([second.room, second.chargedBytes]).toEqual([96, 96]);
});
