/**
 * CANCEL and CREDIT on their way to who serves. They are brought about by others, so a client that
 * reads slowly must not be closed for them: where its queue is full they wait here, at most one of
 * each for a request, until there is room.
 */

import { OPCODE } from "../../protocol/opcodes.ts";
import { creditToClientBody } from "../../protocol/service-messages.ts";
import type { Connection } from "../connection.ts";
import type { Background } from "../long-work/background.ts";
import type { ControlSender } from "../routing/introductions.ts";
import { SEND_QUEUE_BYTES_MAX } from "../sending/limits.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";

/** A call's credit is at most what CREDIT can carry. */
export const STREAM_CREDIT_MAX = 0xffff_ffff;

/** What is still to be told about one request. */
interface HeldWord {
  credit: number;
  /** Flags of the CANCEL; undefined for none. */
  cancelFlags: number | undefined;
}

/** Tells responders, in good time. */
export class HeldWords {
  readonly #send: ControlSender;
  readonly #background: Background;
  readonly #held = new Map<Connection, Map<number, HeldWord>>();
  /** Those of them that are being told. */
  readonly #listening = new Set<Connection>();

  constructor(send: ControlSender, background: Background) {
    this.#send = send;
    this.#background = background;
  }

  /** Nobody waits for the answer to a request any more. */
  cancel(responder: Connection, request: number, flags: number): void {
    const words = this.#held.get(responder);
    if (words === undefined && hasRoom(responder)) {
      return this.#send(responder, { opcode: OPCODE.CANCEL, flags, id: request });
    }
    this.#hold(responder, words, request).cancelFlags = flags;
  }

  /** More parts of the answer may come. */
  credit(responder: Connection, request: number, count: number): void {
    const words = this.#held.get(responder);
    if (words === undefined && hasRoom(responder)) {
      return this.#sendCredit(responder, request, count);
    }
    const word = this.#hold(responder, words, request);
    word.credit = Math.min(word.credit + count, STREAM_CREDIT_MAX);
  }

  /** What there is room for by now will be told, in the background. */
  settle(): void {
    if (this.#held.size === 0) return;
    for (const [responder, words] of this.#held) {
      if (!hasRoom(responder) || this.#listening.has(responder)) continue;
      this.#listening.add(responder);
      this.#background.addNews(responder.identity.uid, this.#tell(responder, words));
    }
  }

  *#tell(responder: Connection, words: Map<number, HeldWord>): Generator<void, void> {
    let told = 0;
    for (const [request, { credit, cancelFlags }] of words) {
      if (!hasRoom(responder) || responder.state === "DOOMED") break;
      words.delete(request);
      if (cancelFlags !== undefined) {
        this.#send(responder, { opcode: OPCODE.CANCEL, flags: cancelFlags, id: request });
      } else this.#sendCredit(responder, request, credit);
      if (++told % ENTRIES_PER_STEP === 0) yield;
    }
    this.#listening.delete(responder);
    if (words.size === 0 && this.#held.get(responder) === words) this.#held.delete(responder);
  }

  /** The connection has ended. */
  drop(responder: Connection): void {
    this.#held.get(responder)?.clear();
    this.#held.delete(responder);
  }

  #sendCredit(responder: Connection, request: number, count: number): void {
    this.#send(responder, {
      opcode: OPCODE.CREDIT,
      id: request,
      body: creditToClientBody({ count }),
    });
  }

  #hold(
    responder: Connection,
    known: Map<number, HeldWord> | undefined,
    request: number,
  ): HeldWord {
    const words = known ?? new Map<number, HeldWord>();
    if (known === undefined) this.#held.set(responder, words);
    const word = words.get(request) ?? { credit: 0, cancelFlags: undefined };
    words.set(request, word);
    return word;
  }
}

function hasRoom({ queue }: Connection): boolean {
  return queue.queuedBytes < SEND_QUEUE_BYTES_MAX;
}
