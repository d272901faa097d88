/**
 * The 16-byte frame header as aligned 32-bit words. For offsets and header words only: what may
 * stand in a header is packet.ts's business, what an opcode means is opcodes.ts's.
 *
 *      0        4    5     6     7        8        12       16
 *      ├────────┼────┼─────┼─────┼────────┼────────┼────────┼───────────────┬─────────┐
 *      │ bytes  │ op │flags│ fds │ detail │   id   │ origin │ body …        │ padding │
 *      └────────┴────┴─────┴─────┴────────┴────────┴────────┴───────────────┴─────────┘
 *       word 0   ╰───── word 1: kind ────╯ word 2   word 3
 *
 * "Kind" is this project's word for opcode, flags, fd count and detail read as one u32. Invariants: frames
 * start at multiples of FRAME_ALIGNMENT_BYTES, and the host is little-endian like the wire.
 */

import { assert } from "../assert.ts";
import { FRAME_ALIGNMENT_BYTES } from "./limits.ts";

/** u32: length of the frame with its header, without padding. */
export const FRAME_BYTES_OFFSET = 0;

/** u8: a value of OPCODE. */
export const FRAME_OPCODE_OFFSET = 4;

/** u8: flags, by opcode. */
export const FRAME_FLAGS_OFFSET = 5;

/** u8: how many fds travel with the frame. */
export const FRAME_FD_COUNT_OFFSET = 6;

/** u8: with FLAG_FDS_WITHHELD why, a value of WITHHELD_REASON; else 0. */
export const FRAME_DETAIL_OFFSET = 7;

/** u32: topic id, request id or connection id, by opcode. */
export const FRAME_ID_OFFSET = 8;

/** u32: connection id of the sender, 0 from a client. */
export const FRAME_ORIGIN_OFFSET = 12;

/** Word of the kind, counted from the first word of the frame. */
export const FRAME_KIND_WORD = 1;

/** Word of the id, counted from the first word of the frame. */
export const FRAME_ID_WORD = 2;

/** Word of the origin, counted from the first word of the frame. */
export const FRAME_ORIGIN_WORD = 3;

/**
 * The header word at byte 4.
 * @param opcode 0 to 255
 * @param flags 0 to 255
 * @param fdCount 0 to 255
 * @param detail 0 to 255
 * @returns opcode | flags << 8 | fdCount << 16 | detail << 24, unsigned
 */
export function kindWord(opcode: number, flags: number, fdCount: number, detail = 0): number {
  return (opcode | (flags << 8) | (fdCount << 16) | (detail << 24)) >>> 0;
}

/** The opcode in a kind word: 0 to 255. */
export function opcodeOf(kind: number): number {
  return kind & 0xff;
}

/** The flags in a kind word: 0 to 255. */
export function flagsOf(kind: number): number {
  return (kind >>> 8) & 0xff;
}

/** The fd count in a kind word: 0 to 255. */
export function fdCountOf(kind: number): number {
  return (kind >>> 16) & 0xff;
}

/** The detail in a kind word: 0 to 255. */
export function detailOf(kind: number): number {
  return kind >>> 24;
}

/**
 * Rounds a frame's length up to where the next frame starts.
 * @param bytes 0 to PACKET_BYTES_MAX; a length from a peer must be checked before, since the bit
 *   arithmetic wraps at 2^31
 */
export function paddedBytes(bytes: number): number {
  return (bytes + (FRAME_ALIGNMENT_BYTES - 1)) & -FRAME_ALIGNMENT_BYTES;
}

/**
 * Writes a frame's four header words.
 * @param words the packet as words; borrowed
 * @param wordIndex the frame's byte offset / 4
 * @param frameBytes header and body, without padding
 * @param kind as kindWord() makes it
 */
export function writeFrameHeader(
  words: Uint32Array,
  wordIndex: number,
  frameBytes: number,
  kind: number,
  id: number,
  origin: number,
): void {
  words[wordIndex] = frameBytes;
  words[wordIndex + FRAME_KIND_WORD] = kind;
  words[wordIndex + FRAME_ID_WORD] = id;
  words[wordIndex + FRAME_ORIGIN_WORD] = origin;
}

assert(
  new Uint8Array(Uint32Array.of(1).buffer)[0] === 1,
  "the host is little-endian, so header words can be read in place",
);
