import { beforeEach, describe, expect, test } from "bun:test";
import { duplicateAll } from "../../../src/client/borrowed-fds.ts";
import { OUTBOUND_BYTES_MAX } from "../../../src/client/limits.ts";
import { type MessageWithFds, Outbound } from "../../../src/client/outbound.ts";
import { unpackMessages } from "../../../src/client/unsent-messages.ts";
import { LimitError, type RejectedError } from "../../../src/errors.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { FDS_REFUSED, FDS_UNWANTED } from "../../../src/ffi/syscall-result.ts";
import { MESSAGE_BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { ENCODING, OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { TestFiles } from "../../support/test-files.ts";
import { isOpenFd, SimulatedTransport } from "./simulated-transport.ts";

let transport: SimulatedTransport;
let outbound: Outbound;
let refused: (LimitError | RejectedError)[];

beforeEach(() => {
  refused = [];
  transport = new SimulatedTransport();
  outbound = new Outbound((error) => void refused.push(error));
  outbound.attach(transport);
});

function write(number: number, bodyBytes = 1): void {
  outbound.message(7, ENCODING.BYTES, new Uint8Array(bodyBytes).fill(number));
}

describe("Outbound", () => {
  test("sends all messages of one tick in one packet, at its end", async () => {
    write(1);
    write(2);
    outbound.control({ opcode: OPCODE.SYNC, id: 9 });
    expect(transport.packets).toEqual([]);
    await Promise.resolve();
    expect(transport.packets).toHaveLength(1);
    expect(transport.frames().map(({ opcode, id }) => [opcode, id])).toEqual([
      [OPCODE.MESSAGE, 7],
      [OPCODE.MESSAGE, 7],
      [OPCODE.SYNC, 9],
    ]);
  });

  test("sends a full packet at once", () => {
    write(1, 40_000);
    write(2, 40_000);
    expect(transport.numbers()).toEqual([1]);
    outbound.flush();
    expect(transport.numbers()).toEqual([1, 2]);
  });

  test("sends the largest message and pads every other with zeros", () => {
    write(0xff, MESSAGE_BODY_BYTES_MAX);
    outbound.flush();
    for (let bodyBytes = 0; bodyBytes < 20; bodyBytes += 1) write(0xff, bodyBytes);
    outbound.flush();
    const [largest, rest] = transport.packets;
    expect(largest?.bytes).toHaveLength(65_536);
    expect(transport.frames().map(({ body }) => body.length)).toEqual([
      MESSAGE_BODY_BYTES_MAX,
      ...Array.from({ length: 20 }, (_, index) => index),
    ]);
    const bodies = Array.from({ length: 20 }, (_, index) => index).reduce((a, b) => a + b);
    const marks = rest?.bytes.filter((byte) => byte === 0xff);
    expect(marks).toHaveLength(bodies);
  });

  test("keeps the order while the transport is blocked", async () => {
    transport.room = 1;
    for (let number = 1; number <= 4; number += 1) {
      write(number);
      outbound.flush();
    }
    expect(transport.numbers()).toEqual([1]);
    expect(outbound.waitingBytes).toBe(3 * 24);
    const drained = outbound.drained();
    transport.room = 2;
    outbound.onWritable();
    expect(transport.numbers()).toEqual([1, 2, 3]);
    write(5);
    transport.room = Number.POSITIVE_INFINITY;
    outbound.onWritable();
    await drained;
    expect(transport.numbers()).toEqual([1, 2, 3, 4, 5]);
    expect(outbound.waitingBytes).toBe(0);
  });

  test("holds what comes before there is a transport", () => {
    const early = new Outbound(() => {});
    early.message(7, ENCODING.BYTES, Uint8Array.of(1));
    early.flush();
    early.message(7, ENCODING.BYTES, Uint8Array.of(2));
    early.attach(transport);
    expect(transport.numbers()).toEqual([1, 2]);
  });

  test("refuses messages beyond OUTBOUND_BYTES_MAX, and control frames never", () => {
    transport.room = 0;
    const body = new Uint8Array(MESSAGE_BODY_BYTES_MAX);
    const fitting = OUTBOUND_BYTES_MAX / 65_536;
    for (let count = 0; count < fitting; count += 1) {
      outbound.message(7, ENCODING.BYTES, body);
    }
    write(1);
    expect(() => {
      for (let count = 0; count < 3; count += 1) outbound.message(7, ENCODING.BYTES, body);
    }).toThrow(LimitError);
    const waiting = outbound.waitingBytes;
    outbound.control({ opcode: OPCODE.SYNC, id: 9 });
    outbound.flush();
    expect(outbound.waitingBytes).toBeGreaterThan(waiting);
    outbound.clear();
    expect(outbound.waitingBytes).toBe(0);
  });
});

/** A message of the one byte 2. */
function withFds(flags: number, fds: readonly number[]): MessageWithFds {
  return { flags, body: Uint8Array.of(2), fds, memoryBytes: 0 };
}

describe("Outbound.messageWithFds()", () => {
  test("sends what was written before first, and the message alone", () => {
    using files = new TestFiles(["a", "b"]);
    write(1);
    outbound.messageWithFds(7, withFds(ENCODING.TEXT, files.fds));
    write(3);
    outbound.flush();
    expect(transport.numbers()).toEqual([1, 2, 3]);
    expect(transport.packets.map(({ fds }) => fds)).toEqual([[], files.fds, []]);
    expect(transport.frames()[1]).toMatchObject({ flags: ENCODING.TEXT, fdCount: 2 });
  });

  test("keeps duplicates while it waits, and closes them once sent", () => {
    transport.room = 0;
    {
      using files = new TestFiles(["a"]);
      write(1);
      outbound.messageWithFds(7, withFds(ENCODING.BYTES, files.fds));
      write(3);
    }
    transport.room = Number.POSITIVE_INFINITY;
    outbound.onWritable();
    expect(transport.numbers()).toEqual([1, 2, 3]);
    const [, second] = transport.packets;
    expect(second?.fds).toHaveLength(1);
    expect(second?.fds.some(isOpenFd)).toBe(false);
  });

  const REFUSALS: ["LIMIT_QUEUED_FDS" | "REJECTED_BY_POLICY", number][] = [
    ["LIMIT_QUEUED_FDS", FDS_REFUSED],
    ["REJECTED_BY_POLICY", FDS_UNWANTED],
  ];

  test.each(REFUSALS)(
    "throws %s where the kernel refuses at once, and sends nothing",
    (code, refusal) => {
      using files = new TestFiles(["a"]);
      transport.refusesFds = true;
      transport.refusal = refusal;
      expect(() => {
        outbound.messageWithFds(7, withFds(ENCODING.BYTES, files.fds));
      }).toThrow(expect.objectContaining({ code }));
      expect(transport.packets).toEqual([]);
      expect(refused).toEqual([]);
    },
  );

  test.each(REFUSALS)("tells of %s after waiting, and goes on", (code, refusal) => {
    using files = new TestFiles(["a"]);
    transport.room = 0;
    write(1);
    outbound.messageWithFds(7, withFds(ENCODING.BYTES, files.fds));
    write(3);
    transport.room = Number.POSITIVE_INFINITY;
    transport.refusesFds = true;
    transport.refusal = refusal;
    outbound.onWritable();
    expect(transport.numbers()).toEqual([1, 3]);
    expect(refused.map((error) => error.code)).toEqual([code]);
  });
});

describe("Outbound.detach()", () => {
  test("gives back what did not leave, as messages in order, and no control frames", () => {
    using files = new TestFiles(["a"]);
    write(1);
    outbound.flush();
    transport.room = 0;
    write(2);
    outbound.control({ opcode: OPCODE.SYNC, id: 9 });
    write(3, 40_000);
    write(4, 40_000);
    outbound.messageWithFds(8, { ...withFds(ENCODING.TEXT, files.fds), memoryBytes: 77 });
    write(5);
    expect(outbound.messageCount).toBe(6);
    const unsent = outbound.detach();
    expect(unsent.map(({ topicId, body }) => [topicId, body[0], body.length])).toEqual([
      [7, 2, 1],
      [7, 3, 40_000],
      [7, 4, 40_000],
      [8, 2, 1],
      [7, 5, 1],
    ]);
    const withFile = unsent[3];
    expect(withFile).toMatchObject({ flags: ENCODING.TEXT, memoryBytes: 77 });
    expect(withFile?.fds.map(({ number }) => isOpenFd(number))).toEqual([true]);
    for (const fd of withFile?.fds ?? []) fd.close();
    expect([outbound.messageCount, outbound.waitingBytes]).toEqual([0, 0]);
    const next = new SimulatedTransport();
    outbound.attach(next);
    expect(next.packets).toEqual([]);
  });

  test("gives back what met a broker that had gone", () => {
    using files = new TestFiles(["a"]);
    transport.isGone = true;
    write(1);
    outbound.flush();
    outbound.messageWithFds(7, withFds(ENCODING.BYTES, files.fds));
    write(3);
    const unsent = outbound.detach();
    expect(unsent.map(({ body }) => body[0])).toEqual([1, 2, 3]);
    for (const { fds } of unsent) for (const fd of fds) fd.close();
  });
});

describe("unpackMessages()", () => {
  test("closes the files of a packet that has no message to own them", () => {
    using files = new TestFiles(["a"]);
    const writer = new PacketWriter();
    writer.appendControl(OPCODE.SYNC, 0, 1, undefined);
    const packet = new PinnedBuffer(writer.packetBytes);
    packet.bytes.set(writer.bytes.subarray(0, writer.packetBytes));
    const fds = duplicateAll(files.fds);
    const numbers = fds.map(({ number }) => number);
    expect(unpackMessages(packet, packet.byteLength, { fds, memoryBytes: 0 })).toEqual([]);
    expect(numbers.some(isOpenFd)).toBe(false);
  });
});
