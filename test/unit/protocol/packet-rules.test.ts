import { describe, expect, test } from "bun:test";
import type { ProtocolErrorCode } from "../../../src/errors.ts";
import { fdCountOf, flagsOf, kindWord, opcodeOf } from "../../../src/protocol/frame.ts";
import { MESSAGE_FDS_MAX } from "../../../src/protocol/limits.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { brokerFrameError, clientFrameError } from "../../../src/protocol/packet.ts";

/** The rules once more, written as a list of what is fine: [opcode, flags, fd counts from, to]. */
type Allowed = readonly [opcode: number, flags: number, fdsMin: number, fdsMax: number];

const FROM_CLIENT: readonly Allowed[] = [
  ...[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09].map(
    (opcode) => [opcode, 0, 0, 0] as const,
  ),
  ...[0, 1, 2, 3].flatMap((encoding) => [
    [0x10, encoding, 0, 253] as const,
    [0x10, encoding | 0x04, 1, 253] as const,
  ]),
];

const FROM_BROKER: readonly Allowed[] = [
  ...[0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89].map(
    (opcode) => [opcode, 0, 0, 0] as const,
  ),
  [0x80, 0, 0, 1],
  [0x82, 0x01, 0, 0],
  ...[0, 1, 2, 3].flatMap((encoding) => [
    [0x10, encoding, 0, 253] as const,
    [0x10, encoding | 0x40, 1, 253] as const,
    [0x10, encoding | 0x80, 0, 0] as const,
    [0x10, encoding | 0x04, 1, 253] as const,
    [0x10, encoding | 0x44, 1, 253] as const,
    [0x10, encoding | 0x84, 1, 1] as const,
    [0x10, encoding | 0xc4, 1, 1] as const,
  ]),
];

const FD_COUNTS = [0, 1, 2, MESSAGE_FDS_MAX, MESSAGE_FDS_MAX + 1, 0xffff];

function listed(list: readonly Allowed[], kind: number): boolean {
  return list.some(
    ([opcode, flags, fdsMin, fdsMax]) =>
      opcode === opcodeOf(kind) &&
      flags === flagsOf(kind) &&
      fdCountOf(kind) >= fdsMin &&
      fdCountOf(kind) <= fdsMax,
  );
}

/** A length that fits the kind: that of a large message is fixed. */
function fittingBytes(kind: number): number {
  return (flagsOf(kind) & 0x04) !== 0 ? 24 : 16;
}

function everyKind(): number[] {
  const kinds: number[] = [];
  for (let low = 0; low <= 0xffff; low += 1) {
    for (const fdCount of FD_COUNTS) kinds.push(kindWord(low & 0xff, low >>> 8, fdCount));
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
    ["a flag on a control frame", kindWord(OPCODE.SYNC, 1, 0), 16, "PROTOCOL_FLAGS"],
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
