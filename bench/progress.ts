/**
 * When a subscriber's warm-up is over, and what it got after it. Time runs from the first look at what
 * had come, and what had come by then does not count: nobody knows how long it took.
 */

import { type CountedStretch, type ReceivedReport, report } from "./work-order.ts";

/** Follows one subscriber's count. */
export class Progress {
  readonly #warmUpMs: number;
  readonly #say: typeof report;
  #startedAt = 0;
  #startedFrom = 0;
  #warmAt = 0;
  #warmFrom = 0;
  #hasStarted = false;
  /** Looking at the clock changes nothing any more. */
  isWarm = false;

  /**
   * @param warmUpMs milliseconds after the first message that do not count
   * @param say tells the harness
   */
  constructor(warmUpMs: number, say: typeof report = report) {
    this.#warmUpMs = warmUpMs;
    this.#say = say;
  }

  /** Looks at the clock. Until it is warm call it after each packet, or every some messages. */
  note(messages: number): void {
    if (this.isWarm || messages === 0) return;
    const now = performance.now();
    if (!this.#hasStarted) {
      this.#hasStarted = true;
      this.#startedAt = now;
      this.#startedFrom = messages;
      this.#say({ type: "streaming" });
    }
    if (now - this.#startedAt < this.#warmUpMs) return;
    this.isWarm = true;
    this.#warmAt = now;
    this.#warmFrom = messages;
    this.#say({ type: "warm" });
  }

  /** All messages have come. */
  finish(messages: number): ReceivedReport {
    const now = performance.now();
    const all: CountedStretch = {
      messages: this.#hasStarted ? messages - this.#startedFrom : 0,
      ms: now - this.#startedAt,
    };
    const warm: CountedStretch = { messages: messages - this.#warmFrom, ms: now - this.#warmAt };
    const hasWarm = this.isWarm && warm.messages > 0;
    return { type: "received", messages, all, ...(hasWarm && { warm }) };
  }
}
