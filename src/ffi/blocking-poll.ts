/**
 * poll(2) on one fd, for benchmarks and tests only: it stops the whole thread, with all its timers and
 * promises. The broker waits in epoll.ts, the client in Bun's event loop.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import { EBADF, EINTR, POLLIN, POLLNVAL } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { POLLFD_BYTES, POLLFD_EVENTS_OFFSET, unpackU32 } from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const scratch = new PinnedBuffer(POLLFD_BYTES);

/**
 * poll(2) POLLIN. Starts the time anew when a signal comes.
 * @param fd borrowed
 * @param timeoutMs 0 asks only, -1 waits for ever
 * @returns true when a read would not wait, which also holds at end-of-file and after an error;
 *   false after the time
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOMEM
 */
export function waitReadable(fd: number, timeoutMs: number): boolean {
  assertFd(fd, "fd");
  assert((timeoutMs | 0) === timeoutMs, "the timeout is a whole number of milliseconds");
  for (;;) {
    scratch.words[0] = fd;
    // revents, in the upper half of this word, is cleared with it.
    scratch.words[POLLFD_EVENTS_OFFSET >>> 2] = POLLIN;
    const count = libc.poll(scratch.address as Pointer, 1, timeoutMs);
    if (count === 0) return false;
    if (count > 0) return readableOrThrow(fd);
    const errno = lastErrno();
    if (errno !== EINTR) throw syscallError("poll", errno, `fd ${fd}`);
  }
}

/** poll(2) reports an fd that is not open in revents, not in errno. */
function readableOrThrow(fd: number): true {
  const revents = unpackU32(scratch.words, POLLFD_EVENTS_OFFSET) >>> 16;
  if ((revents & POLLNVAL) !== 0) throw syscallError("poll", EBADF, `fd ${fd}`);
  return true;
}
