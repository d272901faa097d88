/**
 * A few fds that the broker keeps open on nothing: sockets, which need no file system. When the
 * process may open no more, they are closed for as long as something takes that must not fail:
 * letting an administrator in, or starting a thread (thread-fds.ts).
 */

import { SyscallError } from "../../errors.ts";
import { closeFd } from "../../ffi/owned-fd.ts";
import { openSeqpacket } from "../../ffi/seqpacket.ts";
import { SPARE_FDS, SPARE_FDS_FOR_ONE } from "./limits.ts";

/** Spare fds of one process. */
export class SpareFds {
  readonly #fds: number[] = [];
  readonly #wanted: number;

  /** @param wanted how many are kept, as far as there is room */
  constructor(wanted = SPARE_FDS) {
    this.#wanted = wanted;
    this.refill();
  }

  /** How many there are now. */
  get count(): number {
    return this.#fds.length;
  }

  /** Whether there are enough to let somebody in and to find out who it is. */
  get areEnough(): boolean {
    return this.count >= SPARE_FDS_FOR_ONE;
  }

  /** Whether some are missing. */
  get areShort(): boolean {
    return this.count < this.#wanted;
  }

  /**
   * Does something with the spare fds closed, and opens them again: as many as there is room for.
   * @returns what it returned
   */
  lend<T>(use: () => T): T {
    this.close();
    try {
      return use();
    } finally {
      this.refill();
    }
  }

  /** Opens those that are missing, if there is room. */
  refill(): void {
    while (this.areShort) {
      try {
        this.#fds.push(openSeqpacket());
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
        return;
      }
    }
  }

  /** Closes all. */
  close(): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
  }
}
