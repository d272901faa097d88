/** Receiving one message, request or reply where one is under way. */

import { opcodeOf, paddedBytes } from "../../src/protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { RawSession } from "../raw-session.ts";

/** Words from the start of a frame to its body, which begins with the number of the round. */
export const BODY_WORD = FRAME_HEADER_BYTES / 4;

/** The same for a REQUEST, whose body proper comes after its call and its time limit. */
export const REQUEST_BODY_WORD = (FRAME_HEADER_BYTES + BODY_PREFIX_BYTES) / 4;

/**
 * Blocks until a message has come; introductions before it are passed over.
 * @returns the word of `session.buffer` at which it starts
 * @throws {Error} where the relay refuses something
 */
export function receiveMessage(session: RawSession): number {
  return receiveFrame(session, OPCODE.MESSAGE);
}

/** The bytes behind the header of the frame that starts at a word of `session.buffer`. */
export function bodyBytesOf({ buffer }: RawSession, frame: number): number {
  return (buffer.words[frame] as number) - FRAME_HEADER_BYTES;
}

/**
 * Blocks until a frame of a kind has come; introductions before it are passed over.
 * @returns the word of `session.buffer` at which it starts
 * @throws {Error} where the relay refuses something, or more than one frame of the kind came
 */
export function receiveFrame(session: RawSession, opcode: number): number {
  const { words } = session.buffer;
  for (;;) {
    const packetBytes = session.receive();
    let frame = -1;
    for (let at = 0; at < packetBytes; at += paddedBytes(words[at >>> 2] as number)) {
      const found = opcodeOf(words[(at >>> 2) + 1] as number);
      if (found === OPCODE.ERROR) throw new Error("The relay refused something");
      if (found !== opcode) continue;
      if (frame >= 0) throw new Error("Two came where one is under way");
      frame = at >>> 2;
    }
    if (frame >= 0) return frame;
  }
}
