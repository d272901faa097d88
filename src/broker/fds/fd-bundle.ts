/**
 * The fds of one message while the broker holds them. Several send queues may hold the same
 * bundle; whoever lets go last closes the fds, so they are closed exactly once on every path.
 * Not for fds the broker keeps for itself: those are OwnedFd.
 */

import { assert } from "../../assert.ts";

/** Who is charged for the copies of fds that are on their way to subscribers. */
export interface FdPayer {
  /** So many copies are not on their way any more: taken, or never to be. */
  release(copies: number): void;
  /** So many copies were not taken in time; they are released with it. */
  expire(copies: number): void;
}

const NO_FDS: readonly number[] = [];

/** For fds that go to nobody. */
export const NOBODY_PAYS: FdPayer = { release: () => {}, expire: () => {} };

/** Fds of one message, counted by their holders. Starts with one holder: the router. */
export class FdBundle {
  readonly fds: readonly number[];
  /** The fd that the body of a large message is behind, alone; empty where the frame has the body. */
  readonly bodyFds: readonly number[];
  /** The fds that are files of the sender's: all but the body. */
  readonly fileFds: readonly number[];
  /** Charged for each copy from the routing on, and until it is taken. */
  readonly payer: FdPayer;
  /**
   * Called by a queue where they cannot be passed on, and the frame is nothing without them: its large
   * body, or a channel; told FDS_NOT_PASSED or NO_FD_LANE. Undefined for messages, in whose place
   * stands a gap.
   */
  onRefused: ((outcome: number) => void) | undefined = undefined;
  /**
   * The turn of the broker in which somebody looked at them and found that closing them cannot keep
   * anybody waiting; -1 for none. Good in that turn alone: later the memory may have grown.
   */
  harmlessIn = -1;
  readonly #close: (fd: number, harmlessIn: number) => void;
  #holders = 1;

  /**
   * @param fds owned by the bundle from here on
   * @param close closes one fd; told harmlessIn. Handed in so that tests can count
   * @param bodyFdCount how many of the first fds are the body: 1 for a large message, else 0
   */
  constructor(
    fds: readonly number[],
    close: (fd: number, harmlessIn: number) => void,
    bodyFdCount: 0 | 1 = 0,
    payer: FdPayer = NOBODY_PAYS,
  ) {
    assert(fds.length >= bodyFdCount, "a large message has the fd of its body");
    this.fds = fds;
    // The usual messages have either a body or files: no array is made for them.
    const isBody = bodyFdCount === fds.length;
    if (bodyFdCount === 0) this.bodyFds = NO_FDS;
    else this.bodyFds = isBody ? fds : fds.slice(0, bodyFdCount);
    if (bodyFdCount === 0) this.fileFds = fds;
    else this.fileFds = isBody ? NO_FDS : fds.slice(bodyFdCount);
    this.#close = close;
    this.payer = payer;
  }

  get count(): number {
    return this.fds.length;
  }

  get fileCount(): number {
    return this.fileFds.length;
  }

  /** Adds a holder. */
  retain(): this {
    assert(this.#holders > 0, "a bundle without holders has closed its fds");
    this.#holders += 1;
    return this;
  }

  /** Takes a holder away; the last one closes the fds. */
  release(): void {
    assert(this.#holders > 0, "a bundle is released once by each holder");
    this.#holders -= 1;
    if (this.#holders > 0) return;
    const { fds, harmlessIn } = this;
    for (let index = 0; index < fds.length; index += 1) {
      this.#close(fds[index] as number, harmlessIn);
    }
  }
}
