/**
 * What is checked of a body that comes as sealed memory, beside its number: how long it is, by the
 * frame and by the memory itself. A reader maps as many bytes as it asks for, whatever is there.
 */

import { fstatSync } from "node:fs";
import { flagsOf, opcodeOf } from "../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES, LARGE_SIZE_BYTES } from "../src/protocol/limits.ts";
import { FLAG_LARGE, OPCODE } from "../src/protocol/opcodes.ts";

const FRAME_BYTES = FRAME_HEADER_BYTES + LARGE_SIZE_BYTES;
const SIZE_WORD = FRAME_HEADER_BYTES / 4;

/**
 * Checks the packet that a large body came with: one frame, which says how long the body is.
 * @throws {Error} where it is another frame, or says another length
 */
export function checkLargePacket(words: Uint32Array, packetBytes: number, bodyBytes: number): void {
  const kind = words[1] as number;
  const isLarge = opcodeOf(kind) === OPCODE.MESSAGE && (flagsOf(kind) & FLAG_LARGE) !== 0;
  if (!isLarge || words[0] !== FRAME_BYTES || packetBytes !== FRAME_BYTES) {
    throw new Error(`Got memory with a packet of ${packetBytes} bytes that is no large message`);
  }
  const said = (words[SIZE_WORD] as number) + (words[SIZE_WORD + 1] as number) * 2 ** 32;
  if (said !== bodyBytes) throw new Error(`The frame says ${said} bytes, wanted ${bodyBytes}`);
}

/**
 * Looks how long the memory is that a body came in; a system call, so not for each body.
 * @param fd borrowed
 * @throws {Error} where it has another size
 */
export function checkMemorySize(fd: number, bodyBytes: number): void {
  const { size } = fstatSync(fd);
  if (size !== bodyBytes) throw new Error(`The memory has ${size} bytes, wanted ${bodyBytes}`);
}
