/**
 * File descriptors that are closed exactly once. A second close of the same number is worse than a
 * leak: by then the number may belong to another connection. Code that only borrows an fd takes a
 * plain number; code that owns one takes an OwnedFd.
 */

import { ArgumentError, DataError } from "../errors.ts";
import { EBADF, F_DUPFD_CLOEXEC } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const CLOSED = -1;
const STANDARD_FD_LAST = 2;

/** A default that is not made anew for each fd. */
const NO_OPTIONS: { readonly allowStandard?: boolean } = {};

/**
 * close(2). Afterwards the fd is gone on every path but EBADF: Linux frees the number first and
 * reports EINTR, EIO or a quota error of the file system later. Those are not reported here, since
 * the file may be a stranger's, and what its file system says must not stop the broker.
 * @param fd owned; must not be used again
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF: it was not open, so somebody closed it twice
 */
export function closeFd(fd: number): void {
  assertFd(fd, "fd");
  if (libc.close(fd) === 0) return;
  if (lastErrno() === EBADF) throw syscallError("close", EBADF, `fd ${fd}`);
}

/**
 * fcntl(2) F_DUPFD_CLOEXEC: a second fd for the same open file, above the standard three.
 * @param fd borrowed
 * @returns the new fd, owned by the caller
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, EMFILE
 */
export function duplicateFd(fd: number): number {
  assertFd(fd, "fd");
  const duplicate = libc.fcntl(fd, F_DUPFD_CLOEXEC, STANDARD_FD_LAST + 1);
  if (duplicate < 0) throw syscallError("fcntl F_DUPFD_CLOEXEC", lastErrno(), `fd ${fd}`);
  return duplicate;
}

/** One fd with one owner. Works with `using`. */
export class OwnedFd {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Takes ownership of an open fd.
   * @param fd owned by the caller until now
   * @param options allowStandard: also take 0, 1 and 2, which are refused otherwise, because an
   *   owner of a standard stream is mostly a bug
   * @throws {ArgumentError} ARGUMENT_FD
   */
  static adopt(fd: number, options: { readonly allowStandard?: boolean } = NO_OPTIONS): OwnedFd {
    assertFd(fd, "fd");
    if (fd <= STANDARD_FD_LAST && options.allowStandard !== true) {
      throw new ArgumentError(
        "ARGUMENT_FD",
        `Cannot adopt fd ${fd}: it is a standard stream, must be above ${STANDARD_FD_LAST}`,
        "fd",
      );
    }
    return new OwnedFd(fd);
  }

  /**
   * The number, borrowed: valid until this object closes or releases it.
   * @throws {DataError} DATA_FDS_TAKEN once closed or released
   */
  get number(): number {
    if (this.#fd === CLOSED) {
      throw new DataError("DATA_FDS_TAKEN", "Cannot use file descriptor: it is closed or released");
    }
    return this.#fd;
  }

  /** False once closed or released. */
  get isOpen(): boolean {
    return this.#fd !== CLOSED;
  }

  /**
   * Gives ownership away; this object will not close the fd any more.
   * @returns the fd, owned by the caller
   * @throws {DataError} DATA_FDS_TAKEN once closed or released
   */
  release(): number {
    const fd = this.number;
    this.#fd = CLOSED;
    return fd;
  }

  /**
   * close(2), once; does nothing when closed or released already.
   * @throws {SyscallError} EBADF: somebody else closed it
   */
  close(): void {
    if (this.#fd === CLOSED) return;
    const fd = this.#fd;
    this.#fd = CLOSED;
    closeFd(fd);
  }

  /**
   * fcntl(2) F_DUPFD_CLOEXEC.
   * @returns a second owner of the same open file, with an fd of its own
   * @throws {DataError} DATA_FDS_TAKEN once closed or released
   * @throws {SyscallError} EMFILE
   */
  duplicate(): OwnedFd {
    return new OwnedFd(duplicateFd(this.number));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** An fd that is closed at the end of a `using` block, unless somebody took it before. */
export class FdGuard {
  readonly #owned: OwnedFd;
  #isTaken = false;

  /** @param fd owned by the guard */
  constructor(fd: number) {
    this.#owned = OwnedFd.adopt(fd);
  }

  /** The number, for calls that borrow it. */
  get number(): number {
    return this.#owned.number;
  }

  /** Hands the fd over; the guard does not close it any more. */
  take(): OwnedFd {
    this.#isTaken = true;
    return this.#owned;
  }

  [Symbol.dispose](): void {
    if (!this.#isTaken) this.#owned.close();
  }
}
