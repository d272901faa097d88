/**
 * A client that opens and closes a topic, and subscribes and unsubscribes, without end: one packet
 * asks for both, the next one gives back what the answers to it named.
 */

import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";
import type { ControlMap } from "../../src/protocol/control-body.ts";
import {
  decodeOpenTopicAck,
  decodeSubscribeAck,
  openTopicBody,
  subscribeBody,
  unsubscribeBody,
} from "../../src/protocol/control-messages.ts";
import { FRAME_ID_WORD, opcodeOf, paddedBytes } from "../../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { RawSession } from "../raw-session.ts";

/** The ids of its requests, by what they ask for. */
const OPEN_ID = 1;
const SUBSCRIBE_ID = 2;
const UNSUBSCRIBE_ID = 3;

/** Names that it goes through. */
const NAMES = 1_000;

/** What is to be sent next. */
interface Frame {
  readonly opcode: number;
  readonly id: number;
  readonly body?: ControlMap;
}

/** Drives one such client. */
export class Toggles {
  readonly #session: RawSession;
  readonly #name: string;
  #turn = 0;
  #isAwaited = false;
  /** Frames that are due: more than one where the socket was full. */
  readonly #due: Frame[] = [];

  /** @param at tells it apart from its like */
  constructor(session: RawSession, at: number) {
    this.#session = session;
    this.#name = `bench.toggled.t${at}`;
  }

  /** Sends the next request. @returns as RawSession.sendNow(); WOULD_BLOCK also while answers are awaited */
  send(): number {
    if (this.#due.length === 0 && this.#isAwaited) this.#takeAnswers();
    if (this.#due.length === 0 && !this.#isAwaited) this.#ask();
    const [next] = this.#due;
    if (next === undefined) return WOULD_BLOCK;
    const outcome = this.#session.tellNow(next.opcode, next.id, next.body);
    if (outcome > 0) this.#due.shift();
    return outcome;
  }

  #ask(): void {
    const name = `${this.#name}.${this.#turn % NAMES}`;
    this.#turn += 1;
    this.#isAwaited = true;
    this.#due.push(
      { opcode: OPCODE.OPEN_TOPIC, id: OPEN_ID, body: openTopicBody({ topic: name }) },
      { opcode: OPCODE.SUBSCRIBE, id: SUBSCRIBE_ID, body: subscribeBody({ pattern: name }) },
    );
  }

  #takeAnswers(): void {
    const session = this.#session;
    const { words } = session.buffer;
    for (let bytes = session.receiveIfAny(); bytes > 0; bytes = session.receiveIfAny()) {
      for (let at = 0; at < bytes; at += paddedBytes(words[at >>> 2] as number)) this.#take(at);
    }
  }

  #take(at: number): void {
    const { bytes, words } = this.#session.buffer;
    const word = at >>> 2;
    if (opcodeOf(words[word + 1] as number) !== OPCODE.ACK) return;
    const [start, end] = [at + FRAME_HEADER_BYTES, at + (words[word] as number)];
    const id = words[word + FRAME_ID_WORD];
    if (id === OPEN_ID) {
      const { topic } = decodeOpenTopicAck(bytes, start, end);
      this.#due.push({ opcode: OPCODE.CLOSE_TOPIC, id: topic });
    } else if (id === SUBSCRIBE_ID) {
      const { subscription } = decodeSubscribeAck(bytes, start, end);
      const body = unsubscribeBody({ subscription });
      this.#due.push({ opcode: OPCODE.UNSUBSCRIBE, id: UNSUBSCRIBE_ID, body });
    } else if (id === UNSUBSCRIBE_ID) this.#isAwaited = false;
  }
}
