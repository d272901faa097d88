/** When a subscriber's warm-up is over, and what it got after it. */

import { type ReceivedReport, report } from "./work-order.ts";

/** Follows one subscriber's count. */
export class Progress {
  readonly #warmUpMs: number;
  #startedAt = 0;
  #warmAt = 0;
  #warmFrom = 0;

  /** @param warmUpMs milliseconds after the first message that do not count */
  constructor(warmUpMs: number) {
    this.#warmUpMs = warmUpMs;
  }

  /** Looks at the clock; call it now and then. */
  note(messages: number): void {
    if (this.#warmAt > 0) return;
    const now = performance.now();
    if (this.#startedAt === 0) this.#startedAt = now;
    if (now - this.#startedAt < this.#warmUpMs) return;
    this.#warmAt = now;
    this.#warmFrom = messages;
    report({ type: "warm" });
  }

  /** All messages have come. */
  finish(messages: number): ReceivedReport {
    const since = this.#warmAt > 0 ? this.#warmAt : this.#startedAt;
    return {
      type: "received",
      messages,
      warmMessages: messages - this.#warmFrom,
      warmMs: performance.now() - since,
    };
  }
}
