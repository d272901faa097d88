import { describe, expect, test } from "bun:test";
import type { ProtocolErrorCode } from "../../../src/errors.ts";
import { detailOf, fdCountOf, flagsOf, kindWord, opcodeOf } from "../../../src/protocol/frame.ts";
import { MESSAGE_FDS_MAX } from "../../../src/protocol/limits.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { brokerFrameError, clientFrameError } from "../../../src/protocol/packet.ts";

/** The rules once more, written as a list of what is fine: [opcode, flags, fd counts from, to]. */
type Allowed = readonly [
  opcode: number,
  flags: number,
  fdsMin: number,
  fdsMax: number,
  detailMin?: number,
];

/** In-band files, and a large body. */
function fromClient(opcode: number, flags: number): Allowed[] {
  return [
    [opcode, flags, 0, 253],
    [opcode, flags | 0x04, 1, 253],
  ];
}

/** As the broker passes these on: on the lane too, or withheld for a reason. */
function fromBroker(opcode: number, flags: number): Allowed[] {
  return [
    ...fromClient(opcode, flags),
    [opcode, flags | 0x40, 1, 253],
    [opcode, flags | 0x80, 0, 0, 1],
    [opcode, flags | 0x44, 1, 253],
    [opcode, flags | 0x84, 1, 1, 1],
    [opcode, flags | 0xc4, 1, 1, 1],
  ];
}

const FROM_CLIENT: readonly Allowed[] = [
  ...[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09].map(
    (opcode) => [opcode, 0, 0, 0] as const,
  ),
  ...[0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24].map(
    (opcode) => [opcode, 0, 0, 0] as const,
  ),
  [0x06, 0x01, 0, 0],
  [0x13, 0x01, 0, 0],
  [0x24, 0x01, 0, 0],
  ...[0, 1, 2, 3].flatMap((encoding) => [
    ...[0x10, 0x11, 0x12, 0x20].flatMap((opcode) => fromClient(opcode, encoding)),
    ...fromClient(0x11, encoding | 0x08),
    ...[0x08, 0x10, 0x18].flatMap((flags) => fromClient(0x12, encoding | flags)),
  ]),
];

const FROM_BROKER: readonly Allowed[] = [
  ...[0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89].map(
    (opcode) => [opcode, 0, 0, 0] as const,
  ),
  [0x80, 0, 0, 1],
  [0x82, 0x01, 0, 0],
  ...[0x8a, 0x8b, 0x8d].map((opcode) => [opcode, 0, 0, 0] as const),
  [0x8c, 0, 2, 2],
  [0x8c, 0x40, 2, 2],
  ...[0, 1, 2, 3].map((flags) => [0x13, flags, 0, 0] as const),
  [0x14, 0, 0, 0],
  ...[0, 1, 2, 3].flatMap((encoding) => [
    ...[0x10, 0x11].flatMap((opcode) => [
      ...fromBroker(opcode, encoding),
      ...fromBroker(opcode, encoding | 0x08),
    ]),
    ...[0, 0x08, 0x10, 0x18].flatMap((flags) => fromBroker(0x12, encoding | flags)),
  ]),
];

/** Fd count and detail. */
const FD_COUNTS = [
  [0, 0],
  [1, 0],
  [2, 0],
  [MESSAGE_FDS_MAX, 0],
  [MESSAGE_FDS_MAX + 1, 0],
  [0xff, 0xff],
  [0, 1],
  [1, 3],
  [2, 0xff],
] as const;

function listed(list: readonly Allowed[], kind: number): boolean {
  return list.some(
    ([opcode, flags, fdsMin, fdsMax, detailMin = 0]) =>
      opcode === opcodeOf(kind) &&
      (detailMin === 0 ? detailOf(kind) === 0 : detailOf(kind) >= detailMin) &&
      flags === flagsOf(kind) &&
      fdCountOf(kind) >= fdsMin &&
      fdCountOf(kind) <= fdsMax,
  );
}

/** A length that fits the kind: that of a large message is fixed. */
function fittingBytes(kind: number): number {
  const prefixBytes = [0x11, 0x20].includes(opcodeOf(kind)) ? 8 : 0;
  return ((flagsOf(kind) & 0x04) !== 0 ? 24 : 16) + prefixBytes;
}

function everyKind(): number[] {
  const kinds: number[] = [];
  for (let low = 0; low <= 0xffff; low += 1) {
    for (const [fdCount, detail] of FD_COUNTS) {
      kinds.push(kindWord(low & 0xff, low >>> 8, fdCount, detail));
    }
  }
  return kinds;
}

describe("clientFrameError()", () => {
  test("allows exactly the listed opcodes, flags and fd counts", () => {
    const wrong = everyKind().filter(
      (kind) => (clientFrameError(kind, fittingBytes(kind)) === 0) !== listed(FROM_CLIENT, kind),
    );
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  test.each<[string, number, number, ProtocolErrorCode | 0]>([
    ["an unknown opcode", kindWord(0x42, 0, 0), 16, "PROTOCOL_OPCODE"],
    ["opcode 0", kindWord(0, 0, 0), 16, "PROTOCOL_OPCODE"],
    ["an opcode of the broker", kindWord(OPCODE.WELCOME, 0, 0), 16, "PROTOCOL_OPCODE"],
    ["a flag of the broker", kindWord(OPCODE.MESSAGE, 0x40, 1), 16, "PROTOCOL_FLAGS"],
    ["a flag on a control frame", kindWord(OPCODE.SYNC, 2, 0), 16, "PROTOCOL_FLAGS"],
    ["a detail", kindWord(OPCODE.MESSAGE, 0, 0, 1), 16, "PROTOCOL_FLAGS"],
    ["a request without prefix", kindWord(OPCODE.REQUEST, 0, 0), 23, "PROTOCOL_FRAME_LENGTH"],
    ["an empty request", kindWord(OPCODE.REQUEST, 0, 0), 24, 0],
    ["a large request", kindWord(OPCODE.REQUEST, 0x04, 1), 32, 0],
    ["a large one without prefix", kindWord(OPCODE.RETAIN, 4, 1), 24, "PROTOCOL_FRAME_LENGTH"],
    ["fds on a control frame", kindWord(OPCODE.HELLO, 0, 1), 16, "PROTOCOL_FD_COUNT"],
    ["254 fds", kindWord(OPCODE.MESSAGE, 0, 254), 16, "PROTOCOL_FD_COUNT"],
    ["a length below the header", kindWord(OPCODE.MESSAGE, 0, 0), 15, "PROTOCOL_FRAME_LENGTH"],
    ["a body on SYNC", kindWord(OPCODE.SYNC, 0, 0), 17, "PROTOCOL_CONTROL_BODY"],
    ["4,097 bytes of map", kindWord(OPCODE.HELLO, 0, 0), 16 + 4097, "PROTOCOL_CONTROL_BODY"],
    ["4,096 bytes of map", kindWord(OPCODE.HELLO, 0, 0), 16 + 4096, 0],
    ["a large message", kindWord(OPCODE.MESSAGE, 0x04, 1), 24, 0],
    ["a large message without fds", kindWord(OPCODE.MESSAGE, 0x04, 0), 24, "PROTOCOL_FD_COUNT"],
    ["a large message of no size", kindWord(OPCODE.MESSAGE, 0x04, 1), 16, "PROTOCOL_FRAME_LENGTH"],
    ["one with more than a size", kindWord(OPCODE.MESSAGE, 0x04, 1), 25, "PROTOCOL_FRAME_LENGTH"],
    ["the largest message", kindWord(OPCODE.MESSAGE, 3, 253), 65_536, 0],
  ])("judges %s", (_what, kind, frameBytes, verdict) => {
    expect(clientFrameError(kind, frameBytes)).toBe(verdict);
  });
});

describe("brokerFrameError()", () => {
  test("allows exactly the listed opcodes, flags and fd counts", () => {
    const wrong = everyKind().filter(
      (kind) => (brokerFrameError(kind, fittingBytes(kind)) === 0) !== listed(FROM_BROKER, kind),
    );
    expect(wrong.slice(0, 5)).toEqual([]);
  });

  test("takes control bodies of any length but none on SENDER_GONE", () => {
    expect(brokerFrameError(kindWord(OPCODE.SENDER, 0, 0), 16 + 8000)).toBe(0);
    expect(brokerFrameError(kindWord(OPCODE.SENDER_GONE, 0, 0), 24)).toBe("PROTOCOL_CONTROL_BODY");
  });

  test("refuses a length below the header", () => {
    expect(brokerFrameError(kindWord(OPCODE.NOOP, 0, 0), 0)).toBe("PROTOCOL_OPCODE");
    expect(brokerFrameError(kindWord(OPCODE.ACK, 0, 0), 0)).toBe("PROTOCOL_FRAME_LENGTH");
  });
});
