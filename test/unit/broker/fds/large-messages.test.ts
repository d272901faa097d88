/** Messages whose body is behind an fd, in the send queue and in the router. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { FdBundle } from "../../../../src/broker/fds/fd-bundle.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { Introductions } from "../../../../src/broker/routing/introductions.ts";
import { Router } from "../../../../src/broker/routing/router.ts";
import {
  CONTROL_FRAME_BUFFER,
  encodeControlFrame,
} from "../../../../src/broker/sending/control-frames.ts";
import {
  SEND_QUEUE_MEMORY_BYTES_MAX,
  SEND_QUEUE_MEMORY_BYTES_RESUME,
} from "../../../../src/broker/sending/limits.ts";
import { ACCEPTED, QUEUE_FULL } from "../../../../src/broker/sending/queue-outcomes.ts";
import { SendQueue } from "../../../../src/broker/sending/send-queue.ts";
import { decodeGapBody } from "../../../../src/protocol/control-messages.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import {
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_LARGE,
  GAP_REASON,
  OPCODE,
} from "../../../../src/protocol/opcodes.ts";
import { isLarge, largeBodyBytes } from "../../../../src/protocol/packet.ts";
import { ConnectionBench, quietRouterHost } from "../connection-fixture.ts";
import { FrameBuffer, framesOf, type SentFrame } from "../frame-fixture.ts";
import { openShare } from "../packet-share-fixture.ts";
import { parse } from "../policy/policy-fixture.ts";
import { SimulatedKernel, type SimulatedSocket } from "../simulated-kernel.ts";

const SOCKET_FD = 10;
const LANE_FD = 11;
const TOPIC = 5;
const MIB = 1024 * 1024;

const frames = new FrameBuffer();
let kernel: SimulatedKernel;
let socket: SimulatedSocket;
let lane: SimulatedSocket;
let queue: SendQueue;

beforeEach(() => {
  kernel = new SimulatedKernel();
  socket = kernel.socket(SOCKET_FD);
  lane = kernel.socket(LANE_FD);
  queue = new SendQueue(SOCKET_FD, kernel, openShare(), kernel);
});

function deliver(bodyBytes: number, { files = 0, withheld = false } = {}): number {
  const bundle = kernel.bundle(1 + files, 1);
  const bytes = frames.large(TOPIC, bodyBytes, 1 + files);
  const outcome = withheld
    ? queue.deliverWithheld(frames.buffer, 0, bytes, bundle)
    : queue.deliverWithFds(frames.buffer, 0, bytes, bundle);
  bundle.release();
  return outcome;
}

function sent(): SentFrame[] {
  return socket.take().flatMap(framesOf);
}

function unblock(): void {
  socket.capacity = Number.POSITIVE_INFINITY;
  queue.flush();
}

const GAP_FOR_BODY = { count: 1, reason: GAP_REASON.BODY_REFUSED };

function gapOf(frame: SentFrame | undefined): unknown {
  if (frame?.opcode !== OPCODE.GAP) return frame;
  return decodeGapBody(frame.body, 0, frame.body.byteLength);
}

describe("isLarge() and largeBodyBytes()", () => {
  test("read the length from the frame, beyond every limit too", () => {
    for (const bodyBytes of [0, 65_521, LARGE_BODY_BYTES_MAX, 2 ** 40 + 3]) {
      frames.large(TOPIC, bodyBytes, 1);
      const { words } = frames.buffer;
      expect(isLarge(words[1] ?? 0)).toBe(true);
      expect(largeBodyBytes(words, 0)).toBe(bodyBytes);
    }
    frames.messages([{ topic: TOPIC, number: 1, bodyBytes: 8 }]);
    expect(isLarge(frames.buffer.words[1] ?? 0)).toBe(false);
  });
});

describe("FdBundle", () => {
  test("tells the body from the files, and closes all of them", () => {
    const closed: number[] = [];
    const bundle = new FdBundle([7, 8, 9], (fd) => void closed.push(fd), 1);
    expect(bundle).toMatchObject({ count: 3, fileCount: 2, bodyFds: [7] });
    bundle.release();
    expect(closed).toEqual([7, 8, 9]);
    expect(() => new FdBundle([], () => {}, 1)).toThrow("has the fd of its body");
  });
});

describe("SendQueue", () => {
  test("sends the body first and the files after it", () => {
    expect(deliver(MIB, { files: 2 })).toBe(ACCEPTED);
    const [record] = socket.take();
    expect(record?.fds).toHaveLength(3);
    expect(record && framesOf(record)).toMatchObject([{ flags: FLAG_LARGE, fdCount: 3 }]);
  });

  test.each([false, true])("passes the body alone where files are withheld, lane: %p", (onLane) => {
    if (onLane) queue.outlet.useLane(LANE_FD);
    expect(deliver(MIB, { files: 2, withheld: true })).toBe(ACCEPTED);
    queue.flush();
    const flags = FLAG_LARGE | FLAG_FDS_WITHHELD | (onLane ? FLAG_FDS_ON_LANE : 0);
    const [record] = (onLane ? lane : socket).records;
    expect(record?.fds).toHaveLength(1);
    expect(sent()).toMatchObject([{ flags, fdCount: 1 }]);
    expect(kernel.openFds.size).toBe(0);
  });

  test("passes the body alone after it has waited, too", () => {
    queue.outlet.useLane(LANE_FD);
    lane.capacity = 0;
    expect(deliver(MIB, { files: 2, withheld: true })).toBe(ACCEPTED);
    expect(queue).toMatchObject({ queuedFds: 1, queuedMemoryBytes: MIB });
    lane.capacity = 1;
    unblock();
    expect(lane.records[0]?.fds).toHaveLength(1);
    expect(sent()).toMatchObject([{ fdCount: 1 }]);
    expect(queue).toMatchObject({ queuedFds: 0, queuedMemoryBytes: 0 });
    expect(kernel.openFds.size).toBe(0);
  });

  test("tells a gap in the place of a body that the kernel refuses", () => {
    socket.refusesFds = true;
    expect(deliver(MIB)).toBe(QUEUE_FULL);
    socket.refusesFds = false;
    expect(deliver(MIB)).toBe(ACCEPTED);
    queue.flush();
    const [gap, message] = sent();
    expect(gap).toMatchObject({ opcode: OPCODE.GAP, id: TOPIC });
    expect(gapOf(gap)).toEqual(GAP_FOR_BODY);
    expect(message).toMatchObject({ opcode: OPCODE.MESSAGE, flags: FLAG_LARGE });
    expect(kernel.openFds.size).toBe(0);
  });

  test("tells the same of a body that is refused after it has waited", () => {
    socket.capacity = 0;
    deliver(MIB);
    deliver(MIB);
    socket.refusesFds = true;
    socket.capacity = 1;
    queue.flush();
    expect(gapOf(sent()[0])).toEqual(GAP_FOR_BODY);
    socket.refusesFds = false;
    unblock();
    expect(sent()).toMatchObject([{ opcode: OPCODE.MESSAGE }]);
    expect(queue).toMatchObject({ isEmpty: true, queuedBytes: 0, queuedMemoryBytes: 0 });
    expect(kernel.openFds.size).toBe(0);
  });

  test("takes any one body, and no more than SEND_QUEUE_MEMORY_BYTES_MAX", () => {
    socket.capacity = 0;
    let taken = 0;
    while (deliver(LARGE_BODY_BYTES_MAX) === ACCEPTED) taken += 1;
    expect(taken).toBe(SEND_QUEUE_MEMORY_BYTES_MAX / LARGE_BODY_BYTES_MAX);
    expect(queue.queuedMemoryBytes).toBe(SEND_QUEUE_MEMORY_BYTES_MAX);
    expect(deliver(1)).toBe(QUEUE_FULL);
    unblock();
    const all = sent();
    expect(all).toHaveLength(taken + 1);
    expect(gapOf(all.at(-1))).toEqual({ count: 2, reason: GAP_REASON.SEND_QUEUE_FULL });
    expect(kernel.openFds.size).toBe(0);
  });

  test("takes bodies again once SEND_QUEUE_MEMORY_BYTES_RESUME is left", () => {
    socket.capacity = 0;
    while (deliver(LARGE_BODY_BYTES_MAX) === ACCEPTED);
    const waiting = SEND_QUEUE_MEMORY_BYTES_MAX / LARGE_BODY_BYTES_MAX;
    const resumeAt = SEND_QUEUE_MEMORY_BYTES_RESUME / LARGE_BODY_BYTES_MAX;
    socket.capacity = waiting - resumeAt - 1;
    queue.flush();
    expect(deliver(1)).toBe(QUEUE_FULL);
    socket.capacity += 1;
    queue.flush();
    expect(deliver(1)).toBe(ACCEPTED);
    queue.abandon();
    expect(queue.queuedMemoryBytes).toBe(0);
    expect(kernel.openFds.size).toBe(0);
  });
});

describe("Router.routeWithFds()", () => {
  const POLICY = `
[[rule]]
allow = ["publish", "subscribe"]
topics = [">"]
any = true

[[rule]]
allow = ["receive-fds"]
topics = [">"]
uid = 7
`;

  test("withholds files from who may not have them, and the body from nobody", () => {
    const bench = new ConnectionBench();
    const state = new BusState(parse(POLICY), () => {});
    const introductions = new Introductions((connection, frame) => {
      connection.queue.push(CONTROL_FRAME_BUFFER, encodeControlFrame(frame));
    });
    const router = new Router(state, introductions, bench.fdsInFlight, quietRouterHost());
    const publisher = bench.connect(1, 0);
    const [trusted, other] = [bench.connect(2, 7), bench.connect(3, 8)];
    for (const connection of [trusted, other]) state.subscribe(connection, ">");
    const topic = state.topics.hold("a");
    if (topic === undefined) throw new Error("There are too many topics");
    const sendFds = { allowed: true, rule: undefined };
    const open = {
      topic,
      mayPublish: true,
      messageBytesMax: LARGE_BODY_BYTES_MAX,
      sendFds,
      introducedTo: undefined,
    };

    const route = (files: number): void => {
      const bundle = bench.kernel.bundle(1 + files, 1);
      const bytes = frames.large(topic.id, MIB, 1 + files);
      router.routeWithFds(publisher, open, frames.buffer, bytes, bundle);
      bundle.release();
    };
    const shapesTo = (connection: Connection): unknown[] =>
      bench
        .framesTo(connection)
        .filter(({ opcode }) => opcode === OPCODE.MESSAGE)
        .map(({ flags, fdCount }) => [flags, fdCount]);

    route(0);
    route(2);
    expect(shapesTo(trusted)).toEqual([
      [FLAG_LARGE, 1],
      [FLAG_LARGE, 3],
    ]);
    expect(shapesTo(other)).toEqual([
      [FLAG_LARGE, 1],
      [FLAG_LARGE | FLAG_FDS_WITHHELD, 1],
    ]);
    expect(publisher.counters).toMatchObject({ published: 2, matched: 4, dropped: 0 });
    expect(bench.kernel.openFds.size).toBe(0);
  });
});
