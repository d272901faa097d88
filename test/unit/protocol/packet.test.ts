import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { ProtocolErrorCode } from "../../../src/errors.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { FRAME_DETAIL_OFFSET, flagsOf, opcodeOf } from "../../../src/protocol/frame.ts";
import { PACKET_BYTES_MAX, PACKET_FRAMES_MAX } from "../../../src/protocol/limits.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketReader, type PacketSide, PacketWriter } from "../../../src/protocol/packet.ts";
import { caughtProtocolError } from "./caught-protocol-error.ts";
import { bytesFromHex, fixtureBytes, PACKET_FIXTURES } from "./packet-fixture.ts";

/** A frame as a test sees it. */
interface PlainFrame {
  readonly opcode: number;
  readonly flags: number;
  readonly id: number;
  readonly origin: number;
  readonly body: Uint8Array;
}

/** Hands a packet to a fresh reader, in a buffer of exactly its size or of `roomBytes`. */
function readPacket(
  packet: Uint8Array,
  from: PacketSide,
  options: { receivedFds?: number; roomBytes?: number; fill?: number } = {},
): PacketReader {
  const room = Math.ceil(Math.max(packet.byteLength, options.roomBytes ?? 0) / 8) * 8;
  const bytes = new Uint8Array(new ArrayBuffer(room)).fill(options.fill ?? 0);
  bytes.set(packet);
  const reader = new PacketReader();
  const words = new Uint32Array(bytes.buffer);
  reader.read(words, bytes, packet.byteLength, options.receivedFds ?? 0, from);
  return reader;
}

function outcomeOf(read: () => PacketReader): string {
  try {
    const reader = read();
    return `${reader.frameCount} frames at ${reader.offsets.subarray(0, reader.frameCount)}`;
  } catch (error) {
    if (error instanceof ProtocolError) return `${error.code} at ${error.byteOffset}`;
    throw error;
  }
}

function framesOf(writer: PacketWriter, reader: PacketReader): PlainFrame[] {
  const view = new DataView(writer.bytes.buffer);
  return Array.from(reader.offsets.subarray(0, reader.frameCount), (at) => {
    const kind = view.getUint32(at + 4, true);
    return {
      opcode: opcodeOf(kind),
      flags: flagsOf(kind),
      id: view.getUint32(at + 8, true),
      origin: view.getUint32(at + 12, true),
      body: writer.bytes.slice(at + 16, at + view.getUint32(at, true)),
    };
  });
}

const messageFrame: fc.Arbitrary<PlainFrame> = fc.record({
  opcode: fc.constant(OPCODE.MESSAGE),
  flags: fc.nat(3),
  id: fc.nat(0xffff_ffff),
  origin: fc.nat(0xffff_ffff),
  body: fc.uint8Array({ maxLength: 200 }),
});

describe("PacketWriter", () => {
  test.each(PACKET_FIXTURES.map((fixture) => [fixture.name, fixture] as const))(
    "writes %s as the pinned bytes",
    (_name, fixture) => {
      const { opcode, flags, fdCount, id, origin } = fixture.header;
      const writer = new PacketWriter(256);
      writer.bytes.fill(0xee);
      const fits =
        fixture.body === undefined || fixture.body instanceof Uint8Array
          ? writer.append(opcode, flags, fdCount, id, origin, fixture.body)
          : writer.appendControl(opcode, flags, id, fixture.body, fdCount);
      expect(fits).toBe(true);
      writer.bytes[FRAME_DETAIL_OFFSET] = fixture.header.detail ?? 0;
      expect(writer.bytes.subarray(0, writer.packetBytes).toHex()).toBe(
        fixtureBytes(fixture).toHex(),
      );
    },
  );

  test("append() takes a frame that fills the packet to the last byte", () => {
    const writer = new PacketWriter();
    expect(writer.append(OPCODE.MESSAGE, 0, 0, 1, 0, new Uint8Array(PACKET_BYTES_MAX - 16))).toBe(
      true,
    );
    expect(writer.packetBytes).toBe(PACKET_BYTES_MAX);
    expect(writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined)).toBe(false);
  });

  test("append() returns false and changes nothing where a frame is one byte too long", () => {
    const writer = new PacketWriter(48);
    writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined);
    const before = writer.bytes.toHex();
    expect(writer.append(OPCODE.MESSAGE, 0, 0, 1, 0, new Uint8Array(17).fill(1))).toBe(false);
    expect(writer.bytes.toHex()).toBe(before);
    expect(writer.packetBytes).toBe(16);
    expect(writer.append(OPCODE.MESSAGE, 0, 0, 1, 0, new Uint8Array(16).fill(1))).toBe(true);
  });

  test("appendControl() returns false where the map does not fit, and takes one that does", () => {
    const writer = new PacketWriter(40);
    expect(writer.appendControl(OPCODE.TOPIC, 0, 7, { topic: "a".repeat(17) })).toBe(false);
    expect(writer.packetBytes).toBe(0);
    expect(writer.appendControl(OPCODE.TOPIC, 0, 7, { topic: "a".repeat(16) })).toBe(true);
    expect(writer.packetBytes).toBe(40);
  });

  test("reset() starts the next packet in the same memory, with clean padding", () => {
    const writer = new PacketWriter(32);
    writer.append(OPCODE.MESSAGE, 0, 0, 1, 0, new Uint8Array(16).fill(0xff));
    writer.reset();
    writer.append(OPCODE.MESSAGE, 0, 0, 2, 0, new Uint8Array([1]));
    expect(writer.packetBytes).toBe(24);
    expect(writer.bytes.subarray(16, 24).toHex()).toBe("0100000000000000");
  });

  test("writes into memory that it is given, and no more than a packet of it", () => {
    const memory = new ArrayBuffer(PACKET_BYTES_MAX + 64);
    const writer = new PacketWriter(memory);
    expect(writer.append(OPCODE.MESSAGE, 0, 0, 1, 0, new Uint8Array(PACKET_BYTES_MAX - 15))).toBe(
      false,
    );
    expect(writer.append(OPCODE.NOOP, 0, 0, 9, 0, undefined)).toBe(true);
    expect(new DataView(memory).getUint32(8, true)).toBe(9);
  });
});

describe("PacketReader.read()", () => {
  test.each(PACKET_FIXTURES.map((fixture) => [fixture.name, fixture] as const))(
    "takes %s",
    (_name, fixture) => {
      const reader = readPacket(fixtureBytes(fixture), fixture.from, fixture);
      expect(reader.frameCount).toBe(1);
      expect(reader.offsets[0]).toBe(0);
    },
  );

  test("finds every frame that was written, in order", () => {
    fc.assert(
      fc.property(fc.array(messageFrame, { minLength: 1, maxLength: 40 }), (frames) => {
        const writer = new PacketWriter();
        for (const { opcode, flags, id, origin, body } of frames) {
          expect(writer.append(opcode, flags, 0, id, origin, body)).toBe(true);
        }
        const reader = new PacketReader();
        const count = reader.read(writer.words, writer.bytes, writer.packetBytes, 0, "client");
        expect(count).toBe(frames.length);
        expect(framesOf(writer, reader)).toEqual(frames);
      }),
    );
  });

  test("takes a packet of PACKET_FRAMES_MAX bare headers", () => {
    const writer = new PacketWriter();
    while (writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined));
    const reader = new PacketReader();
    expect(reader.read(writer.words, writer.bytes, writer.packetBytes, 0, "client")).toBe(
      PACKET_FRAMES_MAX,
    );
    expect(reader.offsets[PACKET_FRAMES_MAX - 1]).toBe(PACKET_BYTES_MAX - 16);
  });

  test("does not look at padding", () => {
    const packet = bytesFromHex("11000000 10000000 07000000 00000000 41 ffffffffffffff");
    expect(readPacket(packet, "client").frameCount).toBe(1);
  });

  const NOOP = "10000000 07000000 00000000 00000000";
  const MESSAGE_1_FD = "10000000 10000100 07000000 00000000";
  const MESSAGE_2_FDS = "10000000 10000200 07000000 00000000";
  const LANE_2_FDS = "10000000 10400200 07000000 05000000";
  test.each<[string, PacketSide, string, number, ProtocolErrorCode, number]>([
    ["no byte", "client", "", 0, "PROTOCOL_PACKET_SIZE", 0],
    ["half a header", "client", "10000000 07000000", 0, "PROTOCOL_PACKET_SIZE", 0],
    ["20 bytes", "client", `${NOOP} 00000000`, 0, "PROTOCOL_PACKET_SIZE", 0],
    [
      "8 bytes behind a frame",
      "client",
      `${NOOP} 10000000 07000000`,
      0,
      "PROTOCOL_FRAME_LENGTH",
      16,
    ],
    ["length 0", "client", `00000000 ${NOOP.slice(9)}`, 0, "PROTOCOL_FRAME_LENGTH", 0],
    ["length 15", "client", `0f000000 ${NOOP.slice(9)}`, 0, "PROTOCOL_FRAME_LENGTH", 0],
    ["length 17 of 16", "client", `11000000 ${NOOP.slice(9)}`, 0, "PROTOCOL_FRAME_LENGTH", 0],
    ["length 2^31", "client", `00000080 ${NOOP.slice(9)}`, 0, "PROTOCOL_FRAME_LENGTH", 0],
    ["length 2^32 - 1", "client", `ffffffff ${NOOP.slice(9)}`, 0, "PROTOCOL_FRAME_LENGTH", 0],
    [
      "a bad second length",
      "client",
      NOOP + NOOP.replace("1", "2"),
      0,
      "PROTOCOL_FRAME_LENGTH",
      16,
    ],
    ["WELCOME from a client", "client", NOOP.replace("07", "80"), 0, "PROTOCOL_OPCODE", 4],
    ["NOOP from the broker", "broker", NOOP, 0, "PROTOCOL_OPCODE", 4],
    ["a bad second opcode", "client", NOOP + NOOP.replace("07", "ff"), 0, "PROTOCOL_OPCODE", 20],
    ["a flag on NOOP", "client", NOOP.replace("0700", "0701"), 0, "PROTOCOL_FLAGS", 5],
    ["a lane flag from a client", "client", LANE_2_FDS, 2, "PROTOCOL_FLAGS", 5],
    ["an fd on NOOP", "client", NOOP.replace("070000", "070001"), 1, "PROTOCOL_FD_COUNT", 6],
    ["one fd where two are named", "client", MESSAGE_2_FDS, 1, "PROTOCOL_FD_COUNT", 6],
    ["three fds where two are named", "client", MESSAGE_2_FDS, 3, "PROTOCOL_FD_COUNT", 6],
    ["an fd that no frame names", "client", NOOP, 1, "PROTOCOL_FD_COUNT", 6],
    ["a frame behind one with an fd", "client", MESSAGE_1_FD + NOOP, 1, "PROTOCOL_FD_COUNT", 6],
    ["a frame before one with fds", "client", NOOP + MESSAGE_2_FDS, 2, "PROTOCOL_FD_COUNT", 6],
    ["a frame behind one with fds", "client", MESSAGE_2_FDS + NOOP, 2, "PROTOCOL_FD_COUNT", 6],
    ["in-band fds beside the lane", "broker", LANE_2_FDS, 2, "PROTOCOL_FD_COUNT", 6],
    [
      "a body on NOOP",
      "client",
      `11${NOOP.slice(2)} 0000000000000000`,
      0,
      "PROTOCOL_CONTROL_BODY",
      0,
    ],
  ])("refuses %s", (_what, from, hex, receivedFds, code, byteOffset) => {
    const packet = bytesFromHex(hex);
    const error = caughtProtocolError(() => readPacket(packet, from, { receivedFds }));
    expect({ code: error.code, byteOffset: error.byteOffset }).toEqual({ code, byteOffset });
  });

  test("refuses a packet of more than PACKET_BYTES_MAX bytes", () => {
    const packet = new Uint8Array(PACKET_BYTES_MAX + 8);
    expect(caughtProtocolError(() => readPacket(packet, "client")).code).toBe(
      "PROTOCOL_PACKET_SIZE",
    );
  });

  test("takes frames with fds on the lane beside others and without in-band fds", () => {
    const gap = "10000000 86000000 07000000 00000000";
    const packet = bytesFromHex(LANE_2_FDS + gap + LANE_2_FDS);
    expect(readPacket(packet, "broker").frameCount).toBe(3);
  });

  test("forgets the packet before a refused one", () => {
    const writer = new PacketWriter(32);
    writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined);
    writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined);
    const reader = new PacketReader();
    const { words, bytes } = writer;
    expect(reader.read(words, bytes, 32, 0, "client")).toBe(2);
    caughtProtocolError(() => reader.read(words, bytes, 32, 1, "client"));
    expect(reader.frameCount).toBe(0);
  });

  test("throws nothing but ProtocolError for any bytes, and its offset lies in the packet", () => {
    const opcodes = fc.constantFrom(...Object.values(OPCODE));
    const roughFrame = fc
      .tuple(fc.integer({ min: 0, max: 80 }), opcodes, fc.nat(3), fc.nat(3), fc.nat(5))
      .map(([length, opcode, flags, fdCount, words]) => {
        const head = [length, 0, 0, 0, opcode, flags, fdCount, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        return Uint8Array.from([...head, ...Array<number>(words * 8).fill(0)]);
      });
    const rough = fc.array(roughFrame, { maxLength: 6 }).map((frames) => joined(frames));
    const anyPacket = fc.oneof(fc.uint8Array({ maxLength: 120 }), rough);
    const anySide = fc.constantFrom<PacketSide>("client", "broker");
    fc.assert(
      fc.property(anyPacket, anySide, fc.nat(3), (packet, from, receivedFds) => {
        const tight = outcomeOf(() => readPacket(packet, from, { receivedFds }));
        const offset = Number(/^PROTOCOL.* at (\d+)$/.exec(tight)?.[1] ?? 0);
        expect(offset).toBeLessThanOrEqual(packet.byteLength);
        // What lies behind the packet has no say: not in a tight buffer, not in a dirty one.
        for (const fill of [0x00, 0x10, 0xff]) {
          const options = { receivedFds, fill, roomBytes: packet.byteLength + 64 };
          expect(outcomeOf(() => readPacket(packet, from, options))).toBe(tight);
        }
      }),
      { numRuns: 500 },
    );
  });
});

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
