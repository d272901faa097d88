/**
 * The fds of one message while the broker holds them. Several send queues may hold the same
 * bundle; whoever lets go last closes the fds, so they are closed exactly once on every path.
 * Not for fds the broker keeps for itself: those are OwnedFd.
 */

import { assert } from "../assert.ts";

/** Who is charged for the copies of fds that are on their way to subscribers. */
export interface FdPayer {
  /** So many copies are not on their way any more: taken, or never to be. */
  release(copies: number): void;
  /** So many copies were not taken in time; they are released with it. */
  expire(copies: number): void;
}

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
   * Called by a queue where the kernel does not pass them on, and the frame is nothing without them:
   * its large body, or a channel. Undefined for messages, in whose place stands a gap.
   */
  onRefused: (() => void) | undefined = undefined;
  readonly #close: (fd: number) => void;
  #holders = 1;

  /**
   * @param fds owned by the bundle from here on
   * @param close closes one fd; handed in so that tests can count
   * @param bodyFdCount how many of the first fds are the body: 1 for a large message, else 0
   */
  constructor(
    fds: readonly number[],
    close: (fd: number) => void,
    bodyFdCount: 0 | 1 = 0,
    payer: FdPayer = NOBODY_PAYS,
  ) {
    assert(fds.length >= bodyFdCount, "a large message has the fd of its body");
    this.fds = fds;
    this.bodyFds = fds.slice(0, bodyFdCount);
    this.fileFds = bodyFdCount === 0 ? fds : fds.slice(bodyFdCount);
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
    for (const fd of this.fds) this.#close(fd);
  }
}
