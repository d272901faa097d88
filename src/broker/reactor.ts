/**
 * The one loop of the broker: wait for readiness, handle a bounded batch, flush, and now and then
 * let Bun's own loop run, so that signals and timers are served. Knows nothing of connections.
 *
 * Bun has no public way to be told that a foreign fd is readable, so this loop blocks in
 * epoll_wait(2) on the main thread. Bun's own epoll instance is watched as one more fd, so that
 * whatever Bun waits for ends the sleep too. A macrotask is needed to let its handlers run;
 * resolving a promise is not enough. Bun's timers are not seen that way: they may be late by
 * IDLE_WAIT_MS, and the broker keeps its own deadlines.
 */

import { availableParallelism, cpus } from "node:os";
import { EPOLLIN } from "../ffi/constants.ts";
import type { Epoll } from "../ffi/epoll.ts";
import { RUNTIME_YIELD_INTERVAL_MS, SHORT_WAIT_MS } from "./limits.ts";
import { ShortWaits } from "./short-waits.ts";

/** The token of Bun's own event loop. */
const RUNTIME_TOKEN = 0xffff_fffe;

/** What the loop drives. None of these may throw for what a client does. */
export interface ReactorHandler {
  /** Milliseconds that the loop may sleep now: 0 and more. */
  sleepMs(): number;
  /** An fd is ready. `events` are EPOLL* bits. */
  ready(token: number, events: number): void;
  /**
   * All events of this turn are handled: flush, close, look at the clock.
   * @returns whether what was sent may be answered in a moment
   */
  endTurn(): boolean;
}

/** Runs turns until it is stopped. */
export class Reactor {
  readonly #epoll: Epoll;
  readonly #handler: ReactorHandler;
  readonly #now: () => number;
  /** The machine's cores, not those that the broker may use: where it has one, its clients have others. */
  readonly #shortWaits = new ShortWaits(countCores());
  #isStopped = false;
  #mayBeAnswered = false;
  #isRuntimeReady = false;

  /**
   * @param epoll borrowed
   * @param runtimeEpoll the fd of Bun's event loop, borrowed; without it signals are noticed when
   *   they interrupt the sleep, or at its end
   * @param now milliseconds, monotonic
   */
  constructor(
    epoll: Epoll,
    runtimeEpoll: number | undefined,
    handler: ReactorHandler,
    now: () => number,
  ) {
    this.#epoll = epoll;
    this.#handler = handler;
    this.#now = now;
    if (runtimeEpoll !== undefined) epoll.add(runtimeEpoll, EPOLLIN, RUNTIME_TOKEN);
  }

  /** Resolves after stop(), at the end of that turn. */
  async run(): Promise<void> {
    let now = this.#now();
    let yieldedAt = now;
    while (!this.#isStopped) {
      const count = this.#turn(now);
      now = this.#now();
      const isDue = this.#isRuntimeReady || now - yieldedAt >= RUNTIME_YIELD_INTERVAL_MS;
      if (count > 0 && !isDue) continue;
      this.#isRuntimeReady = false;
      await yieldToRuntime();
      now = this.#now();
      yieldedAt = now;
    }
  }

  /**
   * Lets Bun's loop run after the current turn: for whoever starts something asynchronous in a turn,
   * since promises are not served while the loop sleeps.
   */
  yieldSoon(): void {
    this.#isRuntimeReady = true;
  }

  /** Ends run() after the current turn. */
  stop(): void {
    this.#isStopped = true;
  }

  /**
   * @param startedAt the clock
   * @returns events handled, or a negative outcome where a signal came
   */
  #turn(startedAt: number): number {
    const count = this.#wait(this.#handler.sleepMs(), startedAt);
    for (let index = 0; index < count; index += 1) {
      const token = this.#epoll.token(index);
      if (token === RUNTIME_TOKEN) this.#isRuntimeReady = true;
      else this.#handler.ready(token, this.#epoll.events(index));
    }
    this.#mayBeAnswered = this.#handler.endTurn();
    return count;
  }

  /** Outcome of Epoll.wait(). Stays awake at first where an answer is likely to come at once. */
  #wait(sleepMs: number, startedAt: number): number {
    if (sleepMs === 0 || !this.#mayBeAnswered) return this.#epoll.wait(sleepMs);
    let count = 0;
    if (this.#shortWaits.areLikely) {
      do count = this.#epoll.wait(0);
      while (count === 0 && this.#now() - startedAt < SHORT_WAIT_MS);
    }
    if (count === 0) count = this.#epoll.wait(sleepMs);
    this.#shortWaits.note(this.#now() - startedAt);
    return count;
  }
}

/** Of the machine; those that the broker may use where /proc does not tell. */
function countCores(): number {
  try {
    return Math.max(cpus().length, availableParallelism());
  } catch {
    return availableParallelism();
  }
}

function yieldToRuntime(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
