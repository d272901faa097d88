/** The check of message-ring.ts where several publishers send to one subscriber: one for each. */

import { FRAME_HEADER_BYTES } from "../src/protocol/limits.ts";
import { MessageCheck } from "./message-ring.ts";
import { eachMessage } from "./packet-walk.ts";

/** Checks the messages of each source on their own. Sources write their number after the message's. */
export class SourcesCheck {
  readonly #checks: readonly MessageCheck[];
  messages = 0;
  /** The end of every source has come. */
  isEnded = false;

  /** @param ring as for MessageCheck, of each source */
  constructor(messageBytes: number, ring: number, sources: number) {
    this.#checks = Array.from({ length: sources }, () => new MessageCheck(messageBytes, ring));
  }

  /** As MessageCheck. */
  takePacket(words: Uint32Array, packetBytes: number): void {
    eachMessage(words, packetBytes, (word, frameBytes) => {
      const number = words[word + 4] as number;
      this.take(number, frameBytes - FRAME_HEADER_BYTES, words[word + 5]);
    });
  }

  /** As MessageCheck. @param source the second word of the body */
  take(number: number, bodyBytes: number, source = 0): void {
    const check = this.#checks[source];
    if (check === undefined) throw new Error(`Got a message of source ${source}, which is none`);
    const before = check.messages;
    check.take(number, bodyBytes);
    this.messages += check.messages - before;
    if (check.isEnded) this.isEnded = this.#checks.every((each) => each.isEnded);
  }

  /** Messages of one source so far. */
  messagesOf(source: number): number {
    return this.#checks[source]?.messages ?? 0;
  }
}
