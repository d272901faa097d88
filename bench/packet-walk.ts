/** Walks the frames of a packet that came from the relay, where speed matters less than in message-ring.ts. */

import { opcodeOf, paddedBytes } from "../src/protocol/frame.ts";
import { OPCODE } from "../src/protocol/opcodes.ts";

/**
 * @param visit given the word at which a message starts, and the bytes of its frame
 * @throws {Error} where the relay tells of a loss or an error
 */
export function eachMessage(
  words: Uint32Array,
  packetBytes: number,
  visit: (word: number, frameBytes: number) => void,
): void {
  for (let at = 0; at < packetBytes; ) {
    const word = at >>> 2;
    const frameBytes = words[word] as number;
    const opcode = opcodeOf(words[word + 1] as number);
    if (opcode === OPCODE.MESSAGE) visit(word, frameBytes);
    else if (opcode === OPCODE.GAP || opcode === OPCODE.ERROR) {
      throw new Error(`The relay sent opcode ${opcode}`);
    }
    at += paddedBytes(frameBytes);
  }
}
