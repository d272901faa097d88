import { beforeEach, describe, expect, test } from "bun:test";
import {
  DIRECT_SEND_BYTES_MIN,
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
  SEND_QUEUE_CONTROL_BYTES_MAX,
  SEND_QUEUE_FDS_MAX,
} from "../../../../src/broker/sending/limits.ts";
import type { LaterLoss } from "../../../../src/broker/sending/loss-tally.ts";
import { PacketPool } from "../../../../src/broker/sending/packet-pool.ts";
import {
  ACCEPTED,
  BLOCKED,
  PEER_GONE,
  QUEUE_FULL,
} from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { FDS_REFUSED, FDS_UNWANTED } from "../../../../src/ffi/syscall-result.ts";
import { FRAME_KIND_WORD, FRAME_ORIGIN_WORD } from "../../../../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES, PACKET_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import {
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_RETAINED,
  OPCODE,
} from "../../../../src/protocol/opcodes.ts";
import { FrameBuffer, framesOf, gapCountOf, numberOf, type SentFrame } from "../frame-fixture.ts";
import { openShare } from "../packet-share-fixture.ts";
import { SimulatedKernel, type SimulatedSocket } from "../simulated-kernel.ts";

const SOCKET_FD = 10;
const LANE_FD = 11;
const TOPIC = 5;

const frames = new FrameBuffer();
let kernel: SimulatedKernel;
let socket: SimulatedSocket;
let lane: SimulatedSocket;
let pool: PacketPool;
let queue: SendQueue;

beforeEach(() => {
  kernel = new SimulatedKernel();
  socket = kernel.socket(SOCKET_FD);
  lane = kernel.socket(LANE_FD);
  pool = new PacketPool();
  queue = new SendQueue(SOCKET_FD, kernel, openShare(pool), kernel);
});

function deliver(number: number, bodyBytes = 8, topic = TOPIC): number {
  return queue.deliver(frames.buffer, 0, frames.messages([{ topic, number, bodyBytes }]));
}

/** The bundle's router lets go right after, as the broker does. */
function deliverWithFds(number: number, fdCount: number, bodyBytes = 8): number {
  const bundle = kernel.bundle(fdCount);
  const bytes = frames.messages([{ topic: TOPIC, number, bodyBytes, fdCount }]);
  const outcome = queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
  bundle.release();
  return outcome;
}

function pushControl(opcode: number, id: number): number {
  return queue.push(frames.buffer, frames.control(opcode, id));
}

function sent(): SentFrame[] {
  return socket.take().flatMap(framesOf);
}

/** Blocks the socket behind one message, so that all that follows is queued. */
function block(): void {
  socket.capacity = 0;
  deliver(0, DIRECT_SEND_BYTES_MIN);
}

/** Delivers 60,000 bytes at a time until a message is lost. @returns number of the first lost */
function fill(first: number): number {
  for (let number = first; ; number += 1) {
    if (deliver(number, 60_000) === QUEUE_FULL) return number;
  }
}

describe("SendQueue.deliver()", () => {
  test("gathers small messages in one packet, which flush() sends", () => {
    expect([deliver(1), deliver(2), deliver(3)]).toEqual([ACCEPTED, ACCEPTED, ACCEPTED]);
    expect(socket.sends).toBe(0);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(socket.sends).toBe(1);
    expect(sent().map(numberOf)).toEqual([1, 2, 3]);
    expect(queue.isEmpty).toBe(true);
    expect(queue.queuedBytes).toBe(0);
  });

  test("sends a large run at once where nothing waits", () => {
    expect(deliver(1, DIRECT_SEND_BYTES_MIN)).toBe(ACCEPTED);
    expect(queue.isEmpty).toBe(true);
    expect(sent().map(numberOf)).toEqual([1]);
  });

  test("queues a large run behind what waits", () => {
    deliver(1);
    deliver(2, DIRECT_SEND_BYTES_MIN);
    queue.flush();
    expect(sent().map(numberOf)).toEqual([1, 2]);
  });

  test("sends full packets on its own, before flush()", () => {
    const frameBytes = 1_024;
    const inPacket = PACKET_BYTES_MAX / frameBytes;
    const bodyBytes = frameBytes - FRAME_HEADER_BYTES;
    for (let number = 0; number < inPacket; number += 1) deliver(number, bodyBytes);
    expect(socket.sends).toBe(0);
    deliver(inPacket, bodyBytes);
    expect(socket.sends).toBe(1);
    expect(sent()).toHaveLength(inPacket);
    queue.flush();
    expect(sent().map(numberOf)).toEqual([inPacket]);
  });

  test("keeps what does not leave, and names the fd to wait for", () => {
    block();
    deliver(1);
    expect(queue.flush()).toBe(BLOCKED);
    expect(queue.blockedFd).toBe(SOCKET_FD);
    socket.capacity = 10;
    expect(queue.flush()).toBe(ACCEPTED);
    expect(queue.blockedFd).toBe(-1);
    expect(sent().map(numberOf)).toEqual([0, 1]);
  });

  test("takes ENOBUFS for a full socket", () => {
    socket.failuresAhead = 1;
    deliver(1, DIRECT_SEND_BYTES_MIN);
    expect(queue.isEmpty).toBe(false);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(sent().map(numberOf)).toEqual([1]);
  });

  test("returns PEER_GONE where the other side is gone", () => {
    socket.isPeerGone = true;
    expect(deliver(1, DIRECT_SEND_BYTES_MIN)).toBe(PEER_GONE);
    deliver(2);
    expect(queue.flush()).toBe(PEER_GONE);
  });

  test("returns QUEUE_FULL at SEND_QUEUE_BYTES_MAX and tells the gap in its place", () => {
    block();
    const lost = fill(1);
    expect(queue.queuedBytes).toBeLessThanOrEqual(SEND_QUEUE_BYTES_MAX);
    expect(queue.queuedBytes).toBeGreaterThan(SEND_QUEUE_BYTES_MAX - 65_536);
    expect(deliver(lost + 1)).toBe(QUEUE_FULL);
    expect(deliver(lost + 2, 8, TOPIC + 1)).toBe(QUEUE_FULL);
    socket.capacity = Number.POSITIVE_INFINITY;
    expect(queue.flush()).toBe(ACCEPTED);
    deliver(lost + 3);
    queue.flush();
    const all = sent();
    expect(all.slice(0, lost).map(numberOf)).toEqual(Array.from({ length: lost }, (_, i) => i));
    const [first, second, last] = all.slice(lost);
    expect(first).toMatchObject({ opcode: OPCODE.GAP, id: TOPIC });
    expect(first && gapCountOf(first)).toBe(2);
    expect(second).toMatchObject({ opcode: OPCODE.GAP, id: TOPIC + 1 });
    expect(second && gapCountOf(second)).toBe(1);
    expect(last && numberOf(last)).toBe(lost + 3);
    expect(all).toHaveLength(lost + 3);
  });

  test("takes messages again only once the queue is down to SEND_QUEUE_BYTES_RESUME", () => {
    block();
    const lost = fill(1);
    socket.capacity = 2;
    queue.flush();
    socket.take();
    expect(queue.queuedBytes).toBeGreaterThan(SEND_QUEUE_BYTES_RESUME);
    expect(deliver(lost + 1)).toBe(QUEUE_FULL);
    while (queue.queuedBytes > SEND_QUEUE_BYTES_RESUME) {
      queue.flush();
      socket.take();
    }
    expect(deliver(lost + 2)).toBe(ACCEPTED);
  });
});

describe("SendQueue.push()", () => {
  test("keeps control frames in order with messages", () => {
    pushControl(OPCODE.SENDER_GONE, 1);
    deliver(1);
    pushControl(OPCODE.ACK, 2);
    queue.flush();
    const opcodes = sent().map(({ opcode }) => opcode);
    expect(opcodes).toEqual([OPCODE.SENDER_GONE, OPCODE.MESSAGE, OPCODE.ACK]);
  });

  test("may use the reserve beyond a full queue, and then returns QUEUE_FULL", () => {
    block();
    fill(1);
    let pushed = 0;
    while (pushControl(OPCODE.ACK, 1) === ACCEPTED) pushed += 16;
    const total = SEND_QUEUE_BYTES_MAX + SEND_QUEUE_CONTROL_BYTES_MAX;
    expect(queue.queuedBytes).toBeLessThanOrEqual(total);
    expect(queue.queuedBytes).toBeGreaterThan(total - 16);
    expect(pushed).toBeGreaterThanOrEqual(SEND_QUEUE_CONTROL_BYTES_MAX);
  });
});

describe("SendQueue.deliverWithFds()", () => {
  test("sends fds in-band at once where nothing waits", () => {
    expect(deliverWithFds(1, 2)).toBe(ACCEPTED);
    const [record] = socket.records;
    expect(record?.fds).toHaveLength(2);
    expect(sent()).toMatchObject([{ flags: 0, fdCount: 2 }]);
    expect(kernel.openFds.size).toBe(0);
  });

  test("lets a message with fds wait in its place, and holds the fds meanwhile", () => {
    deliver(1);
    deliverWithFds(2, 3);
    expect(queue.queuedFds).toBe(3);
    expect(kernel.openFds.size).toBe(3);
    deliver(3);
    queue.flush();
    expect(queue.queuedFds).toBe(0);
    expect(kernel.openFds.size).toBe(0);
    expect(socket.records.map(({ fds }) => fds.length)).toEqual([0, 3, 0]);
    expect(sent().map(numberOf)).toEqual([1, 2, 3]);
  });

  test("sends the fds on the lane first, numbered, and marks the message", () => {
    queue.outlet.useLane(LANE_FD);
    deliverWithFds(1, 2);
    deliverWithFds(2, 1);
    queue.flush();
    expect(sent()).toMatchObject([
      { flags: FLAG_FDS_ON_LANE, fdCount: 2 },
      { flags: FLAG_FDS_ON_LANE, fdCount: 1 },
    ]);
    const records = lane.take();
    expect(records.map(({ fds }) => fds.length)).toEqual([2, 1]);
    expect(records.map(({ bytes }) => [...new Uint32Array(bytes.slice().buffer)])).toEqual([
      [1, 2],
      [2, 1],
    ]);
  });

  test("waits for the lane where that is what blocks", () => {
    queue.outlet.useLane(LANE_FD);
    lane.capacity = 0;
    deliverWithFds(1, 2);
    deliver(2);
    expect(queue.flush()).toBe(BLOCKED);
    expect(queue.blockedFd).toBe(LANE_FD);
    expect(socket.records).toEqual([]);
    lane.capacity = 1;
    expect(queue.flush()).toBe(ACCEPTED);
    expect(sent().map(numberOf)).toEqual([1, 2]);
  });

  test("keeps the message for the socket once its fds are on the lane", () => {
    queue.outlet.useLane(LANE_FD);
    socket.capacity = 0;
    deliver(0);
    deliverWithFds(1, 2);
    expect(queue.flush()).toBe(BLOCKED);
    expect(queue.blockedFd).toBe(SOCKET_FD);
    socket.capacity = 1;
    queue.flush();
    socket.capacity = 2;
    expect(queue.flush()).toBe(ACCEPTED);
    expect(sent().map(({ flags }) => flags)).toEqual([0, FLAG_FDS_ON_LANE]);
    expect(lane.records).toHaveLength(1);
    expect(kernel.openFds.size).toBe(0);
  });

  test.each([
    ["of this user, at once", FDS_REFUSED, 0],
    ["of this user, after waiting", FDS_REFUSED, 1],
    ["for this receiver, at once", FDS_UNWANTED, 0],
    ["for this receiver, after waiting", FDS_UNWANTED, 1],
  ])("delivers without fds what the kernel refuses, %s", (_what, refusal, waiting) => {
    socket.refusesFds = true;
    socket.refusal = refusal;
    if (waiting > 0) deliver(0);
    expect(deliverWithFds(1, 2)).toBe(ACCEPTED);
    queue.flush();
    expect(sent().at(-1)).toMatchObject({ flags: FLAG_FDS_WITHHELD, fdCount: 0 });
    expect(kernel.openFds.size).toBe(0);
  });

  test("delivers without fds to a client that closed its lane", () => {
    queue.outlet.useLane(LANE_FD);
    lane.isPeerGone = true;
    expect(deliverWithFds(1, 2)).toBe(ACCEPTED);
    queue.flush();
    expect(sent()).toMatchObject([{ flags: FLAG_FDS_WITHHELD, fdCount: 0 }]);
  });

  test("leaves the source as it was, for the next subscriber", () => {
    queue.outlet.useLane(LANE_FD);
    const bytes = frames.messages([{ topic: TOPIC, number: 1, bodyBytes: 8, fdCount: 2 }]);
    const before = frames.buffer.bytes.slice(0, bytes);
    const bundle = kernel.bundle(2);
    queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
    queue.deliverWithheld(frames.buffer, 0, bytes, bundle);
    lane.refusesFds = true;
    queue.flush();
    queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
    expect(frames.buffer.bytes.slice(0, bytes)).toEqual(before);
    bundle.release();
  });

  test("returns QUEUE_FULL beyond SEND_QUEUE_FDS_MAX, and the gap counts it", () => {
    block();
    const each = 253;
    const fitting = Math.floor(SEND_QUEUE_FDS_MAX / each);
    for (let number = 1; number <= fitting; number += 1) {
      expect(deliverWithFds(number, each)).toBe(ACCEPTED);
    }
    expect(deliverWithFds(fitting + 1, each)).toBe(QUEUE_FULL);
    expect(kernel.openFds.size).toBe(fitting * each);
    socket.capacity = Number.POSITIVE_INFINITY;
    let last: SentFrame | undefined;
    while (!queue.isEmpty) {
      queue.flush();
      last = sent().at(-1);
    }
    expect(last).toMatchObject({ opcode: OPCODE.GAP, id: TOPIC });
    expect(last && gapCountOf(last)).toBe(1);
    expect(kernel.openFds.size).toBe(0);
  });
});

describe("SendQueue.abandon()", () => {
  test("closes waiting fds, gives packets back, and takes nothing more", () => {
    block();
    deliverWithFds(1, 3);
    for (let number = 2; number < 10; number += 1) deliver(number, 60_000);
    expect(pool.backlogBytes).toBeGreaterThan(0);
    queue.abandon();
    expect(kernel.openFds.size).toBe(0);
    expect(pool.backlogBytes).toBe(0);
    expect(queue).toMatchObject({ isEmpty: true, queuedBytes: 0, queuedFds: 0, blockedFd: -1 });
    expect(deliver(20)).toBe(PEER_GONE);
    expect(deliverWithFds(21, 1)).toBe(PEER_GONE);
    expect(pushControl(OPCODE.ACK, 1)).toBe(ACCEPTED);
    expect(queue.flush()).toBe(ACCEPTED);
    expect(socket.records).toEqual([]);
  });

  test("tells whose messages it lets go of, last values and the broker's own aside", () => {
    const told: LaterLoss[] = [];
    queue.onLost = (loss) => void told.push(loss);
    const { words } = frames.buffer;
    const deliverFrom = (origin: number, flags = 0) => {
      const bytes = frames.messages([{ topic: TOPIC, number: 1, bodyBytes: 100 }]);
      words[FRAME_ORIGIN_WORD] = origin;
      words[FRAME_KIND_WORD] = (words[FRAME_KIND_WORD] ?? 0) | (flags << 8);
      queue.deliver(frames.buffer, 0, bytes);
    };
    for (const origin of [7, 7, 8, 7, 0]) deliverFrom(origin);
    deliverFrom(8, FLAG_RETAINED);
    pushControl(OPCODE.ACK, 1);
    queue.abandon();
    expect(told).toEqual([
      { origin: 7, lostLater: 3, superseded: 0 },
      { origin: 8, lostLater: 1, superseded: 0 },
    ]);
    expect(queue.withdrawn).toEqual({ messages: 4, bytes: 4 * 120 });
    expect(queue.messagesAbandoned).toBe(6);
  });
});

describe("QueueLosses.forgetTopic()", () => {
  test("tells a loss without its topic, once the id stands for another", () => {
    block();
    fill(1);
    queue.losses.forgetTopic(TOPIC);
    socket.capacity = Number.POSITIVE_INFINITY;
    queue.flush();
    expect(sent().at(-1)).toMatchObject({ opcode: OPCODE.GAP, id: 0 });
  });
});

describe("SendQueue.sendNow()", () => {
  test("refuses to overtake what waits", () => {
    deliver(1);
    expect(() => queue.sendNow(frames.buffer, 16, [])).toThrow("nothing is overtaken");
  });
});
