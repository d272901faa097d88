/**
 * Whether a bus reads from its broker. It stops while a subscription that must lose nothing is full,
 * and goes on all the same while an answer is awaited, which stands behind messages: a program may
 * ask something before it takes the next message. Knows no socket.
 */

/** Reasons to read, and not to. */
export class ReadGate<Subscription> {
  readonly #setPaused: (isPaused: boolean) => void;
  readonly #full = new Set<Subscription>();
  /** Requests and calls have no answer yet. */
  #areAnswersAwaited = false;
  /** Other things that are waited for. */
  #awaited = 0;
  #isPaused = false;

  /** @param setPaused called at each change */
  constructor(setPaused: (isPaused: boolean) => void) {
    this.#setPaused = setPaused;
  }

  /** A subscription wants no more messages now, or wants them again. */
  noteFull(subscription: Subscription, isFull: boolean): void {
    if (isFull) this.#full.add(subscription);
    else this.#full.delete(subscription);
    this.#update();
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

  /** There is another connection, which is read from. */
  renew(): void {
    this.#isPaused = false;
    this.#update();
  }

  #update(): void {
    const isPaused = this.#full.size > 0 && !this.#areAnswersAwaited && this.#awaited === 0;
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#setPaused(isPaused);
  }
}
