/** The check on large bodies: what a reader maps says nothing of how long the body is. */

import { describe, expect, test } from "bun:test";
import { checkLargePacket, checkMemorySize } from "../../bench/large-body-check.ts";
import { createMemfd, ftruncate } from "../../src/ffi/memfd.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { kindWord } from "../../src/protocol/frame.ts";
import { FLAG_LARGE, OPCODE } from "../../src/protocol/opcodes.ts";

const BODY_BYTES = 256 * 1024;
const PACKET_BYTES = 24;

function packetOf(opcode: number, flags: number, bodyBytes: number): Uint32Array {
  const high = Math.floor(bodyBytes / 2 ** 32);
  return Uint32Array.of(PACKET_BYTES, kindWord(opcode, flags, 1), 7, 0, bodyBytes >>> 0, high);
}

describe("checkLargePacket()", () => {
  test("takes a large message that says the right length", () => {
    const packet = packetOf(OPCODE.MESSAGE, FLAG_LARGE, BODY_BYTES);
    expect(() => checkLargePacket(packet, PACKET_BYTES, BODY_BYTES)).not.toThrow();
  });

  test("throws where the frame says another length, in its low half or its high one", () => {
    for (const said of [BODY_BYTES - 8_192, BODY_BYTES + 2 ** 32]) {
      const packet = packetOf(OPCODE.MESSAGE, FLAG_LARGE, said);
      expect(() => checkLargePacket(packet, PACKET_BYTES, BODY_BYTES)).toThrow(
        `The frame says ${said} bytes, wanted ${BODY_BYTES}`,
      );
    }
  });

  test("throws for a small message, another frame and a second one behind it", () => {
    const small = packetOf(OPCODE.MESSAGE, 0, BODY_BYTES);
    const other = packetOf(OPCODE.REPLY, FLAG_LARGE, BODY_BYTES);
    const large = packetOf(OPCODE.MESSAGE, FLAG_LARGE, BODY_BYTES);
    expect(() => checkLargePacket(small, PACKET_BYTES, BODY_BYTES)).toThrow("no large message");
    expect(() => checkLargePacket(other, PACKET_BYTES, BODY_BYTES)).toThrow("no large message");
    expect(() => checkLargePacket(large, 2 * PACKET_BYTES, BODY_BYTES)).toThrow("48 bytes");
  });
});

describe("checkMemorySize()", () => {
  test("throws for memory that is shorter than its body", () => {
    const fd = createMemfd("seqbus-bench-test");
    try {
      ftruncate(fd, BODY_BYTES);
      expect(() => checkMemorySize(fd, BODY_BYTES)).not.toThrow();
      ftruncate(fd, BODY_BYTES - 8_192);
      expect(() => checkMemorySize(fd, BODY_BYTES)).toThrow("The memory has 253952 bytes");
    } finally {
      closeFd(fd);
    }
  });
});
