/** What every subscriber of a rate scenario does with what it gets: check, acknowledge, report. */

import { CreditSender } from "./credit.ts";
import { MessageCheck, ringMessages } from "./message-ring.ts";
import { Progress } from "./progress.ts";
import { SourcesCheck } from "./sources-check.ts";
import { CREDIT_FD_FIRST, report, type WorkOrder } from "./work-order.ts";

/** The byte that no body holds: looking for it reads all of one. */
const ABSENT_BYTE = 0xff;

/** The words in front of a body may hold any byte. */
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
      if (this.#credits[source]?.acknowledge(messages)) this.#progress.note(this.check.messages);
    }
  }

  /** All messages have come. */
  finish(): void {
    report(this.#progress.finish(this.check.messages));
  }
}

/**
 * Reads every byte of a body.
 * @throws {Error} where one is there that nobody sent
 */
export function readEveryByte(body: Uint8Array): void {
  if (body.indexOf(ABSENT_BYTE, FRONT_BYTES) !== -1)
    throw new Error("Got a body that was not sent");
}
