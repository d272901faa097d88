/** Looking at what frames came, where their bodies do not matter. */

import { opcodeOf, paddedBytes } from "../../src/protocol/frame.ts";
import type { RawSession } from "../raw-session.ts";

/** Visits each frame of the packet that the session has received last. */
export function visitFrames(
  session: RawSession,
  packetBytes: number,
  visit: (opcode: number) => void,
): void {
  const { words } = session.buffer;
  for (let at = 0; at < packetBytes; at += paddedBytes(words[at >>> 2] as number)) {
    visit(opcodeOf(words[(at >>> 2) + 1] as number));
  }
}

/**
 * Blocks until a frame of each opcode has come, in any order.
 * @param visit called for each
 * @throws {Error} where another frame comes
 */
export function awaitFrames(
  session: RawSession,
  opcodes: readonly number[],
  visit: (opcode: number) => void = () => {},
): void {
  const missing = new Set(opcodes);
  while (missing.size > 0) {
    visitFrames(session, session.receive(), (opcode) => {
      if (!missing.delete(opcode)) throw new Error(`Got opcode ${opcode}, wanted ${opcodes}`);
      visit(opcode);
    });
  }
}
