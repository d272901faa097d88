/**
 * flock(2), whole files. The lock belongs to the open file, is inherited by duplicates of the fd and
 * ends when the last of them is closed, also when the process is killed.
 */

import { EAGAIN, EINTR, LOCK_EX, LOCK_NB } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/**
 * flock(2) LOCK_EX without waiting.
 * @param fd any open file, borrowed; keep it open as long as the lock is needed
 * @returns true when this open file now holds the lock, false when another one does
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOLCK, or what the file system says
 */
export function lockExclusive(fd: number): boolean {
  assertFd(fd, "fd");
  for (;;) {
    if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    const errno = lastErrno();
    if (errno === EAGAIN) return false;
    if (errno !== EINTR) throw syscallError("flock", errno, `fd ${fd}`);
  }
}
