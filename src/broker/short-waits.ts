/**
 * Whether the next wait for clients is likely to be a short one, judged by those before it. Where one
 * client answers another on another core, most of a round trip is spent on waking sleepers: so it
 * is faster, and costs the broker no more, to stay awake for the moment that an answer takes.
 *
 * Staying awake in vain costs the time that it takes, and where everybody is on one core it keeps the
 * answer away: so after each failure more short waits must be seen before it is tried again, and where
 * the machine has one core alone it is never tried. One failure among many successes changes nothing:
 * whoever answers is late now and then, and to sleep would make the rounds behind it slower as well. Pure.
 */

import {
  FAILED_WATCH_WAITS,
  FAILED_WATCH_WAITS_MAX,
  SHORT_WAIT_MS,
  SHORT_WAITS_BEFORE_WATCH,
  WATCHES_PER_FAILURE,
} from "./limits.ts";

/** Milliseconds below which nobody waited: there was something to do already. */
const NO_WAIT_MS = 0.003;

/** Remembers how long the last waits were. */
export class ShortWaits {
  /** Short waits seen in a row; below 0 after a failure. */
  #seen = 0;
  /** How far below 0 the next failure takes it. */
  #penalty = FAILED_WATCH_WAITS;
  /** Waits in a row that were as short as expected. */
  #successes = 0;
  readonly #hasCoreToSpare: boolean;

  /** @param cores of the machine, those included that this process may not run on */
  constructor(cores: number) {
    this.#hasCoreToSpare = cores > 1;
  }

  /** Whether to stay awake in the next wait, for SHORT_WAIT_MS at most. */
  get areLikely(): boolean {
    return this.#hasCoreToSpare && this.#seen >= SHORT_WAITS_BEFORE_WATCH;
  }

  /**
   * A wait is over. While areLikely, the caller stayed awake.
   * @param waitedMs how long it was
   */
  note(waitedMs: number): void {
    if (waitedMs < NO_WAIT_MS) return;
    const wasWatched = this.areLikely;
    if (waitedMs <= SHORT_WAIT_MS) {
      if (wasWatched) this.#noteSuccess();
      else this.#seen += 1;
    } else if (wasWatched) this.#noteFailure();
    else this.#seen = Math.min(this.#seen, 0);
  }

  #noteSuccess(): void {
    this.#penalty = FAILED_WATCH_WAITS;
    this.#successes += 1;
  }

  #noteFailure(): void {
    const isOneOfMany = this.#successes >= WATCHES_PER_FAILURE;
    this.#successes = 0;
    if (isOneOfMany) return;
    this.#seen = -this.#penalty;
    this.#penalty = Math.min(2 * this.#penalty, FAILED_WATCH_WAITS_MAX);
  }
}
