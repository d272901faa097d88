/**
 * close(2) of fds whose close may hang, for a thread that does nothing else. Not for the broker's own
 * thread, which must not wait.
 *
 * A thread that hangs in the close of a FUSE file cannot be killed: the kernel waits for the server's
 * answer to FLUSH, and the process of that thread cannot end before. So the close is made in another
 * process, which shares the table of fds and the memory (CLONE_FILES, CLONE_VM), while the calling
 * thread sleeps as if it had called vfork(2): that sleep does end when the process is killed or exits.
 * The other process stays behind until the server answers or dies. It runs the C library's close() on
 * a stack of its own and nothing else; since the caller sleeps, they do not meet in its errno.
 *
 * What it means that the table is shared: as long as such a process hangs, fds that the broker has not
 * closed itself stay open beyond the broker's end.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { fileStatus, MEMORY_DEVICE, readFileStatus, statusDevice } from "./file-status.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import * as structs from "./structs.ts";
import { lastErrno } from "./syscall-result.ts";

const STACK_BYTES = 64 * 1024;
const STACK_ALIGNMENT_BYTES = 16;
/** sigset_t of glibc and musl. */
const SIGNAL_SET_BYTES = 128;
const CLONE_FLAGS = kernel.CLONE_VM | kernel.CLONE_FILES | kernel.CLONE_VFORK;

/** Devices below it have the major number 0: no block device is under them. */
const BLOCK_DEVICES_START = 0x1_0000_0000;

/** /dev/null, /dev/zero, /dev/urandom and the like: the kernel's admin-guide/devices.txt. */
const MEMORY_MAJOR = 1;

const stack = new PinnedBuffer(STACK_BYTES);
const stackTop = stack.address + STACK_BYTES - (stack.address % STACK_ALIGNMENT_BYTES);
const allSignals = new PinnedBuffer(SIGNAL_SET_BYTES);
const usualSignals = new PinnedBuffer(SIGNAL_SET_BYTES);
allSignals.bytes.fill(0xff);

/**
 * Closes an fd, and waits for that as long as it takes. A file on a block device or in memory, or a
 * device such as /dev/null, is closed straight away (0.5 us), since no other process has a say in it; anything else in a process
 * of its own, see above (20 to 60 us).
 * @param fd owned; its number is free as soon as the close has begun
 * @throws {ArgumentError} ARGUMENT_FD
 */
export function closeHoweverLong(fd: number): void {
  assertFd(fd, "fd");
  if (isLocalFile(fd) || !closeInProcess(fd)) libc.close(fd);
}

/** statx(2): whether it is a file whose close waits for a disk at most. */
function isLocalFile(fd: number): boolean {
  if (!readFileStatus(fd, kernel.STATX_TYPE)) return false;
  const { words } = fileStatus;
  const type = structs.unpackU32(words, structs.STATX_MODE_OFFSET) & kernel.S_IFMT;
  if (type === kernel.S_IFCHR) {
    return structs.unpackU32(words, structs.STATX_RDEV_MAJOR_OFFSET) === MEMORY_MAJOR;
  }
  const device = statusDevice();
  const isOnDisk = device === MEMORY_DEVICE || device >= BLOCK_DEVICES_START;
  return isOnDisk && (type === kernel.S_IFREG || type === kernel.S_IFDIR);
}

/**
 * clone(2), then waitpid(2).
 * @returns false where no process could be made, and so nothing has happened
 */
function closeInProcess(fd: number): boolean {
  const { ptr: closeFunction } = libc.close as unknown as { ptr: Pointer };
  // The other process must not run this one's signal handlers on its small stack.
  setSignalMask(allSignals, usualSignals);
  const pid = libc.clone(closeFunction, stackTop as Pointer, CLONE_FLAGS, fd);
  setSignalMask(usualSignals, null);
  if (pid < 0) return false;
  while (libc.waitpid(pid, null, kernel.WALL) < 0 && lastErrno() === kernel.EINTR);
  return true;
}

/** pthread_sigmask(3) SIG_SETMASK, for the calling thread. */
function setSignalMask(mask: PinnedBuffer, previous: PinnedBuffer | null): void {
  const target = previous === null ? null : (previous.address as Pointer);
  const errno = libc.pthread_sigmask(kernel.SIG_SETMASK, mask.address as Pointer, target);
  assert(errno === 0, "a signal mask can be set");
}
