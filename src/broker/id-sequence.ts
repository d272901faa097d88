/**
 * Numbers for things that come and go, as the wire carries them: u32, never 0, each used again as
 * late as possible. Knows nothing of what it numbers.
 */

/** The largest number that the wire carries. */
const ID_MAX = 0xffff_ffff;

/** Gives numbers, one after the other, and starts again at 1 behind the last. */
export class IdSequence {
  #last: number;

  /** @param last the number that was given last; 0 for none */
  constructor(last = 0) {
    this.#last = last;
  }

  /**
   * The next number that is free. A client can use up all of them in some hours or days, and what
   * had a low number from the start may still be there.
   * @param isTaken whether a number is in use; some number must be free
   */
  next(isTaken: (id: number) => boolean): number {
    do {
      this.#last = this.#last === ID_MAX ? 1 : this.#last + 1;
    } while (isTaken(this.#last));
    return this.#last;
  }
}
