/** What every subscriber of a rate scenario does with what it gets: check, acknowledge, report. */

import { CreditSender } from "./credit.ts";
import { FILLER_BYTE, MessageCheck, ringMessages } from "./message-ring.ts";
import { Progress } from "./progress.ts";
import { SourcesCheck } from "./sources-check.ts";
import { CREDIT_FD_FIRST, report, type WorkOrder } from "./work-order.ts";

/** The words in front of a body, which say whose it is and which. */
const FRONT_BYTES = 8;

/** Counts what came, for any number of publishers. */
export class SubscriberCheck {
  /** Sees each message. */
  readonly check: MessageCheck | SourcesCheck;
  readonly #sources: SourcesCheck | undefined;
  readonly #credits: readonly CreditSender[];
  readonly #progress: Progress;

  constructor(order: WorkOrder) {
    const ring = ringMessages(order.messageBytes, order.packetBytes);
    const isOne = order.publishers === 1;
    this.#sources = isOne
      ? undefined
      : new SourcesCheck(order.messageBytes, ring, order.publishers);
    this.check = this.#sources ?? new MessageCheck(order.messageBytes, ring);
    this.#credits = Array.from(
      { length: order.publishers },
      (_, source) => new CreditSender(order, CREDIT_FD_FIRST + source),
    );
    this.#progress = new Progress(order.warmUpMs);
  }

  /** Gives credit where it is due; call it after each packet, or every some messages. */
  acknowledge(): void {
    for (let source = 0; source < this.#credits.length; source += 1) {
      const messages = this.#sources?.messagesOf(source) ?? this.check.messages;
      this.#credits[source]?.acknowledge(messages);
    }
    if (!this.#progress.isWarm) this.#progress.note(this.check.messages);
  }

  /** All messages have come. */
  finish(): void {
    report(this.#progress.finish(this.check.messages));
  }
}

/** memcmp(3) reads as fast as memchr(3); a loop in JavaScript takes five times as long. */
const { compare } = Buffer.prototype;

/**
 * Reads every byte of a body and compares it with what was sent: behind the front each byte is like the
 * one before it, and the first of them is the filler.
 * @param from where the body starts in `bytes`; left out: it is all of them
 * @throws {Error} where another byte is there
 */
export function readEveryByte(bytes: Uint8Array, from = 0, to = bytes.byteLength): void {
  const filler = from + FRONT_BYTES;
  if (to <= filler) return;
  const order = compare.call(bytes as Buffer, bytes, filler, to - 1, filler + 1, to);
  if (bytes[filler] !== FILLER_BYTE || order !== 0) throw new Error("Got a body that was not sent");
}
