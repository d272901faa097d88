import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  detailOf,
  FRAME_BYTES_OFFSET,
  FRAME_DETAIL_OFFSET,
  FRAME_FD_COUNT_OFFSET,
  FRAME_FLAGS_OFFSET,
  FRAME_ID_OFFSET,
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_OPCODE_OFFSET,
  FRAME_ORIGIN_OFFSET,
  FRAME_ORIGIN_WORD,
  fdCountOf,
  flagsOf,
  kindWord,
  opcodeOf,
  paddedBytes,
  writeFrameHeader,
} from "../../../src/protocol/frame.ts";
import { PACKET_BYTES_MAX } from "../../../src/protocol/limits.ts";

const U8 = fc.nat(0xff);
const U32 = fc.nat(0xffff_ffff);

describe("kindWord()", () => {
  test("puts opcode, flags, fd count and detail into one unsigned word", () => {
    expect(kindWord(0x10, 0x03, 0)).toBe(0x0000_0310);
    expect(kindWord(0xff, 0xff, 0xff, 0xff)).toBe(0xffff_ffff);
  });

  test("is undone by opcodeOf(), flagsOf(), fdCountOf() and detailOf()", () => {
    fc.assert(
      fc.property(U8, U8, U8, U8, (opcode, flags, fdCount, detail) => {
        const kind = kindWord(opcode, flags, fdCount, detail);
        const fields = [opcodeOf(kind), flagsOf(kind), fdCountOf(kind), detailOf(kind)];
        expect(fields).toEqual([opcode, flags, fdCount, detail]);
      }),
    );
  });
});

describe("paddedBytes()", () => {
  test("rounds up to the next multiple of 8", () => {
    const lengths = [0, 1, 7, 8, 9, 16, 17, PACKET_BYTES_MAX - 1, PACKET_BYTES_MAX];
    expect(lengths.map(paddedBytes)).toEqual([
      0,
      8,
      8,
      8,
      16,
      16,
      24,
      PACKET_BYTES_MAX,
      PACKET_BYTES_MAX,
    ]);
  });
});

describe("writeFrameHeader()", () => {
  test("writes little-endian fields at the documented offsets and nothing else", () => {
    fc.assert(
      fc.property(U32, U8, U8, U8, U32, U32, (length, opcode, flags, fdCount, id, origin) => {
        const words = new Uint32Array(8).fill(0xa5a5_a5a5);
        writeFrameHeader(words, 2, length, kindWord(opcode, flags, fdCount), id, origin);
        const view = new DataView(words.buffer, 8, 16);
        expect(view.getUint32(FRAME_BYTES_OFFSET, true)).toBe(length);
        expect(view.getUint8(FRAME_OPCODE_OFFSET)).toBe(opcode);
        expect(view.getUint8(FRAME_FLAGS_OFFSET)).toBe(flags);
        expect(view.getUint8(FRAME_FD_COUNT_OFFSET)).toBe(fdCount);
        expect(view.getUint8(FRAME_DETAIL_OFFSET)).toBe(0);
        expect(view.getUint32(FRAME_ID_OFFSET, true)).toBe(id);
        expect(view.getUint32(FRAME_ORIGIN_OFFSET, true)).toBe(origin);
        expect([words[0], words[1], words[6], words[7]]).toEqual(Array(4).fill(0xa5a5_a5a5));
      }),
    );
  });

  test("agrees with the word numbers", () => {
    const words = new Uint32Array(4);
    writeFrameHeader(words, 0, 16, 1, 2, 3);
    expect([words[FRAME_KIND_WORD], words[FRAME_ID_WORD], words[FRAME_ORIGIN_WORD]]).toEqual([
      1, 2, 3,
    ]);
  });
});
