/**
 * Whether a bus reads from its broker. It stops while a subscription that must lose nothing is full,
 * and goes on all the same while an answer is awaited, which stands behind messages: a program may
 * ask something before it takes the next message. Knows no socket.
 */

/** Reasons to read, and not to. */
export class ReadGate<Subscription> {
  readonly #setPaused: (isPaused: boolean) => void;
  readonly #full = new Set<Subscription>();
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

  /** An answer is awaited from now on, until the promise is settled. */
  await(answer: Promise<unknown>): void {
    this.#awaited += 1;
    this.#update();
    const settle = () => {
      this.#awaited -= 1;
      this.#update();
    };
    answer.then(settle, settle);
  }

  #update(): void {
    const isPaused = this.#full.size > 0 && this.#awaited === 0;
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#setPaused(isPaused);
  }
}
