/**
 * Looks for the next connection: one attempt after another, with a pause before each, until one is
 * good, another would be of no use, or the plan has had enough. What an attempt is, and what follows
 * from it, is the link's.
 */

import type { Clock } from "./clock.ts";
import { BackOff, type ReconnectPlan } from "./reconnection.ts";

/** What it is made of. */
export interface RedialingOptions {
  /** Undefined for a link that never tries again: then run() is not called. */
  readonly plan: ReconnectPlan | undefined;
  readonly clock: Clock;
  readonly random: (() => number) | undefined;
  /**
   * Connects once, until the signal is aborted. Rejects with what went wrong.
   * @returns false where the connection was lost again at once
   */
  readonly attempt: (signal: AbortSignal) => Promise<boolean>;
  /** Whether the next attempt would fare no better than the one that failed. */
  readonly isHopeless: (error: unknown) => boolean;
  /** The last attempt failed, and is the last for that reason. */
  readonly onHopeless: (error: unknown) => void;
  /** There were as many attempts as planned. @param error of the last one */
  readonly onExhausted: (error: unknown) => void;
}

/** The attempts of one link. */
export class Redialing {
  readonly #options: RedialingOptions;
  readonly #backOff: BackOff;
  /** Ends an attempt, and all that would follow. */
  readonly #stop = new AbortController();
  /** Ends the pause before the next attempt. */
  #endPause: () => void = () => {};

  constructor(options: RedialingOptions) {
    this.#options = options;
    this.#backOff = new BackOff(options.plan, options.random);
  }

  /** Attempts since the connection was lost. */
  get attempts(): number {
    return this.#backOff.attempts;
  }

  /** There is a connection with all that belongs to it. */
  noteConnected(): void {
    this.#backOff.noteConnected(this.#options.clock.now());
  }

  /** Tries until there is a connection, or none is to be had. @param reason why the last one went */
  async run(reason: Error): Promise<void> {
    const { clock, attempt, isHopeless, onHopeless, onExhausted } = this.#options;
    let lastError: unknown = reason;
    this.#backOff.noteLost(clock.now());
    while (!this.#stop.signal.aborted) {
      const delayMs = this.#backOff.nextDelayMs();
      if (delayMs === undefined) return onExhausted(lastError);
      await this.#pause(delayMs);
      if (this.#stop.signal.aborted) return;
      try {
        if (await attempt(this.#stop.signal)) return;
      } catch (error) {
        if (isHopeless(error)) return onHopeless(error);
        lastError = error;
      }
    }
  }

  /** Tries no more, for good: what is under way ends now. */
  stop(): void {
    this.#stop.abort();
    this.#endPause();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const stopTimer = this.#options.clock.startTimer(resolve, ms);
      this.#endPause = () => {
        stopTimer();
        resolve();
      };
    });
  }
}
