/**
 * Sealed memory that travels as an fd: memfd_create(2), seals, size. Memory from a stranger may be
 * mapped only after getSeals() showed F_SEAL_SHRINK, or a read past its new end kills the process.
 */

import { assert } from "../assert.ts";
import { F_ADD_SEALS, F_GET_SEALS, MFD_ALLOW_SEALING, MFD_CLOEXEC } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const nameEncoder = new TextEncoder();

/**
 * memfd_create(2): empty memory that can be sealed; always close-on-exec.
 * @param name what /proc/PID/fd shows, without meaning; at most 249 bytes without NUL
 * @param flags MFD_ flags beside MFD_CLOEXEC
 * @returns the fd, owned by the caller
 * @throws {SyscallError} EINVAL (name too long, unknown flag), EMFILE, ENOMEM
 */
export function createMemfd(name: string, flags: number = MFD_ALLOW_SEALING): number {
  assert(!name.includes("\0"), "the name of a memfd holds no NUL byte");
  const fd = libc.memfd_create(nameEncoder.encode(`${name}\0`), flags | MFD_CLOEXEC);
  if (fd < 0) throw syscallError("memfd_create", lastErrno(), JSON.stringify(name));
  return fd;
}

/**
 * fcntl(2) F_ADD_SEALS. Seals cannot be taken off.
 * @param fd a writable memfd, borrowed
 * @param seals F_SEAL_ bits
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EPERM (sealed against sealing), EBUSY (F_SEAL_WRITE while a writable mapping
 *   exists), EINVAL (not a memfd)
 */
export function addSeals(fd: number, seals: number): void {
  assertFd(fd, "fd");
  if (libc.fcntl(fd, F_ADD_SEALS, seals) < 0) {
    throw syscallError("fcntl F_ADD_SEALS", lastErrno(), `fd ${fd}`);
  }
}

/**
 * fcntl(2) F_GET_SEALS.
 * @param fd borrowed
 * @returns F_SEAL_ bits
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EINVAL (not a memfd), EBADF
 */
export function getSeals(fd: number): number {
  assertFd(fd, "fd");
  const seals = libc.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0) throw syscallError("fcntl F_GET_SEALS", lastErrno(), `fd ${fd}`);
  return seals;
}

/**
 * ftruncate(2): sets the size; new bytes are zero.
 * @param fd writable, borrowed
 * @param bytes 0..2^53-1
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EPERM (sealed), EFBIG, ENOSPC, EINVAL
 */
export function ftruncate(fd: number, bytes: number): void {
  assertFd(fd, "fd");
  assert(Number.isSafeInteger(bytes), "a size is a whole number of bytes");
  assert(bytes >= 0, "a size is not negative");
  if (libc.ftruncate(fd, bytes) < 0) throw syscallError("ftruncate", lastErrno(), `fd ${fd}`);
}
