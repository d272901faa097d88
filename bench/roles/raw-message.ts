/** Receiving one message, request or reply where one is under way. */

import { opcodeOf, paddedBytes } from "../../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { RawSession } from "../raw-session.ts";

/**
 * Blocks until a message has come; introductions before it are passed over.
 * @throws {Error} where it is not of the expected length
 */
export function receiveMessage(session: RawSession, messageBytes: number): void {
  const frame = receiveFrame(session, OPCODE.MESSAGE);
  const bodyBytes = (session.buffer.words[frame] as number) - FRAME_HEADER_BYTES;
  if (bodyBytes !== messageBytes) throw new Error(`Got ${bodyBytes} bytes, wanted ${messageBytes}`);
}

/**
 * Blocks until a frame of a kind has come; introductions before it are passed over.
 * @returns the word of `session.buffer` at which it starts
 * @throws {Error} where the relay refuses something
 */
export function receiveFrame(session: RawSession, opcode: number): number {
  const { words } = session.buffer;
  for (;;) {
    const packetBytes = session.receive();
    for (let at = 0; at < packetBytes; at += paddedBytes(words[at >>> 2] as number)) {
      const found = opcodeOf(words[(at >>> 2) + 1] as number);
      if (found === opcode) return at >>> 2;
      if (found === OPCODE.ERROR) throw new Error("The relay refused something");
    }
  }
}
