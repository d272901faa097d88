/**
 * How long handlers of one bus may run before it reads on. A handler that computes holds up all that
 * came behind it, so what waits in the socket must not have its order from there: read, it waits in
 * the line of its service, where callers take turns.
 *
 * Only what a handler does before its first `await` counts. Time is looked at twice for a request: when
 * it comes, and behind its handler. Whether the event loop has turned in between is not known, but
 * where handlers were idle, it has.
 */

import type { Clock } from "./clock.ts";
import { HANDLERS_IDLE_MS, HANDLERS_PER_TURN_MS } from "./limits.ts";

/** See the head of this file. One for a bus. */
export class HandlerTurn {
  readonly #clock: Pick<Clock, "now">;
  #busyMs = 0;
  #endedAt = Number.NEGATIVE_INFINITY;
  #isScheduled = false;
  /** Who has more to do, in the order in which they have their turns. */
  readonly #waiting = new Set<() => void>();

  constructor(clock: Pick<Clock, "now">) {
    this.#clock = clock;
  }

  /** Whether another handler may be started now. */
  hasTime(): boolean {
    if (this.#busyMs < HANDLERS_PER_TURN_MS) return true;
    if (this.#clock.now() - this.#endedAt <= HANDLERS_IDLE_MS) return false;
    this.#busyMs = 0;
    return true;
  }

  /** Milliseconds by the clock of the bus. */
  now(): number {
    return this.#clock.now();
  }

  /** A handler has returned. @param startedAt by now() */
  noteEnd(startedAt: number): void {
    this.#endedAt = this.#clock.now();
    this.#busyMs += this.#endedAt - startedAt;
  }

  /** Goes on once the event loop has turned. @param goOn called once, however often it is given */
  whenNext(goOn: () => void): void {
    this.#waiting.add(goOn);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#isScheduled = false;
    this.#busyMs = 0;
    // Who is not done by then adds itself again, behind the others.
    for (let left = this.#waiting.size; left > 0 && this.hasTime(); left -= 1) {
      const goOn = this.#waiting.values().next().value;
      if (goOn === undefined) return;
      this.#waiting.delete(goOn);
      goOn();
    }
    if (this.#waiting.size > 0) this.#schedule();
  };
}
