/**
 * A received fd with one owner, and with reads that may be under way on other threads. It is closed
 * once, and never while such a read uses its number: the number could be another file's by then.
 */

import { DataError } from "../errors.ts";
import { duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";

/** See the head of this file. */
export class LentFd {
  readonly #owned: OwnedFd;
  /** Calls of lend() that are not done. */
  #loans = 0;
  #isGone = false;

  /** @param fd handed over; 0 to 2 as well, where the program has closed its own */
  constructor(fd: number) {
    this.#owned = OwnedFd.adopt(fd, { allowStandard: true });
  }

  /** False once closed or released. */
  get isOpen(): boolean {
    return !this.#isGone;
  }

  /**
   * The number, for calls that return before anything else can happen.
   * @throws {DataError} DATA_FDS_TAKEN once closed or released
   */
  get number(): number {
    if (!this.#isGone) return this.#owned.number;
    throw new DataError("DATA_FDS_TAKEN", "Cannot use received fd: it was taken or closed");
  }

  /**
   * Keeps the number open until a promise is settled, whoever closes it meanwhile.
   * @throws {DataError} DATA_FDS_TAKEN once closed or released; what `use` throws
   */
  async lend<Result>(use: (fd: number) => Promise<Result>): Promise<Result> {
    const fd = this.number;
    this.#loans += 1;
    try {
      return await use(fd);
    } finally {
      this.#loans -= 1;
      if (this.#isGone && this.#loans === 0) this.#owned.close();
    }
  }

  /**
   * Gives the fd away. While it is lent, that is a duplicate.
   * @returns the caller's
   * @throws {DataError} DATA_FDS_TAKEN once closed or released
   * @throws {SyscallError} EMFILE, where it is lent
   */
  release(): number {
    const fd = this.#loans > 0 ? duplicateFd(this.number) : this.number;
    this.#isGone = true;
    if (this.#loans === 0) this.#owned.release();
    return fd;
  }

  /** Closes it, as soon as it is not lent any more. Does nothing the second time. */
  close(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    if (this.#loans === 0) this.#owned.close();
  }
}
