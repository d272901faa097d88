/**
 * Whether a bus reads from its broker. It stops while a subscription that must lose nothing is full.
 * While an answer is awaited, which stands behind messages, it reads on, and has the broker hold
 * publishers back instead (PAUSE); but not for ever: what comes all the same is bounded. Knows no
 * socket.
 *
 *   full                no         yes             yes, and more than may come beyond
 *   nothing is awaited  reads      does not read   does not read
 *   an answer is        reads      reads, PAUSE    does not read
 */

import type { Clock } from "./clock.ts";
import { PAUSE_REPEAT_MS, STANDSTILL_MS } from "./limits.ts";

/**
 * How full a subscription is that must lose nothing. "room": at most half waits, or it was not full
 * since then. "draining": it was full, and has room again. "over": it took what may come beyond.
 */
export type Fill = "room" | "draining" | "full" | "over";

/** What it decides about. */
export interface ReadGateHost<Subscription> {
  /** Reads no more, or reads again; called at each change. */
  setPaused(isPaused: boolean): void;
  /** Has the broker hold publishers back, or go on. Lost where there is no connection. */
  tellBroker(isPaused: boolean): void;
  readonly clock: Clock;
  /** Nothing was taken for STANDSTILL_MS of a subscription that keeps answers from being read. */
  onStandstill(subscription: Subscription): void;
}

/** Reasons to read, and not to. */
export class ReadGate<Subscription> {
  readonly #host: ReadGateHost<Subscription>;
  /** Of all that are not "room". */
  readonly #fills = new Map<Subscription, Fill>();
  /** Requests and calls have no answer yet. */
  #areAnswersAwaited = false;
  /** Other things that are waited for. */
  #awaited = 0;
  #isPaused = false;
  /** The broker holds publishers back, as far as is known. */
  #isTold = false;
  #toldAt = 0;
  /** Runs while an answer is awaited and nothing is read. */
  #stopTimer: (() => void) | undefined;

  constructor(host: ReadGateHost<Subscription>) {
    this.#host = host;
  }

  /** What keeps an answer from being read; undefined where one would be. */
  get obstacle(): Subscription | undefined {
    for (const [subscription, fill] of this.#fills) if (fill === "over") return subscription;
    return undefined;
  }

  /** A subscription is as full as this now. */
  noteFill(subscription: Subscription, fill: Fill): void {
    if (fill === "room") this.#fills.delete(subscription);
    else this.#fills.set(subscription, fill);
    this.#update();
  }

  /** The program has taken a message of one that is not "room". */
  noteTaken(): void {
    this.#watchStandstill(false);
    this.#update();
    if (!this.#isTold) return;
    if (this.#host.clock.now() - this.#toldAt >= PAUSE_REPEAT_MS) this.#tell(true);
  }

  /** The first answer is awaited, or the last one has come. */
  noteAwaited(areAnswersAwaited: boolean): void {
    this.#areAnswersAwaited = areAnswersAwaited;
    this.#update();
  }

  /** Something else that the broker tells is awaited, until the promise is settled. */
  await(news: Promise<unknown>): void {
    this.#awaited += 1;
    this.#update();
    const settle = () => {
      this.#awaited -= 1;
      this.#update();
    };
    news.then(settle, settle);
  }

  /** There is another connection, which is read from, and whose broker was told nothing. */
  renew(): void {
    this.#isPaused = false;
    this.#isTold = false;
    this.#update();
  }

  #update(): void {
    const isAwaited = this.#areAnswersAwaited || this.#awaited > 0;
    const isOver = this.obstacle !== undefined;
    const isFull = isOver || this.#hasFull();
    if (this.#isTold && this.#fills.size === 0) this.#tell(false);
    else if (!this.#isTold && isFull && isAwaited) this.#tell(true);
    this.#watchStandstill(isOver && this.#areAnswersAwaited);
    const isPaused = isFull && (isOver || !isAwaited);
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#host.setPaused(isPaused);
  }

  /** Requests have no time-outs: a program that takes nothing until it is answered would hang. */
  #watchStandstill(isStanding: boolean): void {
    if (isStanding === (this.#stopTimer !== undefined)) return;
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    if (!isStanding) return;
    this.#stopTimer = this.#host.clock.startTimer(() => {
      this.#stopTimer = undefined;
      const { obstacle } = this;
      if (obstacle !== undefined) this.#host.onStandstill(obstacle);
    }, STANDSTILL_MS);
  }

  #hasFull(): boolean {
    for (const fill of this.#fills.values()) if (fill === "full") return true;
    return false;
  }

  #tell(isPaused: boolean): void {
    this.#isTold = isPaused;
    this.#toldAt = this.#host.clock.now();
    this.#host.tellBroker(isPaused);
  }
}
