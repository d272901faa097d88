/**
 * Looking at processes that are no peers of a socket: pidfds of any process, for tests of what is
 * read through one.
 */

import { libc } from "../../../src/ffi/libc.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";

const SYS_PIDFD_OPEN = 434;

/**
 * pidfd_open(2).
 * @param pid alive, or a child that was not waited for
 * @returns owned by the caller
 */
export function openPidfd(pid: number): OwnedFd {
  return OwnedFd.adopt(libc.syscall(SYS_PIDFD_OPEN, pid, null, 0, 0, null));
}
