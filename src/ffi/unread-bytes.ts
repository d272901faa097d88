/**
 * ioctl(2) SIOCOUTQ: how much of what was sent on a Unix socket the other end has not received yet.
 * Only for sockets of our own: an ioctl on a stranger's file may never return.
 */

import type { Pointer } from "bun:ffi";
import { SIOCOUTQ } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { unpackU32 } from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const INT_BYTES = 4;
const scratch = new PinnedBuffer(INT_BYTES);

/**
 * ioctl(2) SIOCOUTQ.
 * @param fd a connected Unix socket, borrowed
 * @returns bytes of kernel memory that the unread records take, the kernel's own book-keeping
 *   included; 0 where all were received
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTTY
 * @see unix(7) SIOCOUTQ
 */
export function getUnreadBytes(fd: number): number {
  assertFd(fd, "fd");
  if (libc.ioctl(fd, SIOCOUTQ, scratch.address as Pointer) < 0) {
    throw syscallError("ioctl SIOCOUTQ", lastErrno(), `fd ${fd}`);
  }
  return unpackU32(scratch.words, 0);
}
