/** Receiving one message where one message is under way. */

import { opcodeOf, paddedBytes } from "../../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { RawSession } from "../raw-session.ts";

/**
 * Blocks until a message has come; introductions before it are passed over.
 * @throws {Error} where it is not of the expected length
 */
export function receiveMessage(session: RawSession, messageBytes: number): void {
  const { words } = session.buffer;
  for (;;) {
    const packetBytes = session.receive();
    for (let at = 0; at < packetBytes; at += paddedBytes(words[at >>> 2] as number)) {
      if (opcodeOf(words[(at >>> 2) + 1] as number) !== OPCODE.MESSAGE) continue;
      const bodyBytes = (words[at >>> 2] as number) - FRAME_HEADER_BYTES;
      if (bodyBytes === messageBytes) return;
      throw new Error(`Got ${bodyBytes} bytes, wanted ${messageBytes}`);
    }
  }
}
