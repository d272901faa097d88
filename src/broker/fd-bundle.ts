/**
 * The fds of one message while the broker holds them. Several send queues may hold the same
 * bundle; whoever lets go last closes the fds, so they are closed exactly once on every path.
 * Not for fds the broker keeps for itself: those are OwnedFd.
 */

import { assert } from "../assert.ts";

/** Fds of one message, counted by their holders. Starts with one holder: the router. */
export class FdBundle {
  readonly fds: readonly number[];
  /** The fd that the body of a large message is behind, alone; empty where the frame has the body. */
  readonly bodyFds: readonly number[];
  /** The fds that are files of the sender's: all but the body. */
  readonly fileFds: readonly number[];
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
  constructor(fds: readonly number[], close: (fd: number) => void, bodyFdCount: 0 | 1 = 0) {
    assert(fds.length >= bodyFdCount, "a large message has the fd of its body");
    this.fds = fds;
    this.bodyFds = fds.slice(0, bodyFdCount);
    this.fileFds = bodyFdCount === 0 ? fds : fds.slice(bodyFdCount);
    this.#close = close;
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
