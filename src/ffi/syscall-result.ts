/**
 * From -1 to errno to an outcome or a SyscallError.
 *
 * Outcomes are conditions that a caller expects: negative numbers, so that a function can return
 * either bytes (or an fd) or an outcome without allocating. They are handled by the direct caller
 * and never passed on. Everything else becomes a SyscallError.
 */

import { read } from "bun:ffi";
import { assert } from "../assert.ts";
import { SyscallError } from "../errors.ts";
import * as kernel from "./constants.ts";
import { libc } from "./libc.ts";

/** Nothing to read, or no room to write: wait until the fd is ready (EAGAIN). */
export const WOULD_BLOCK = -1;
/** The other side is gone: end of file, EPIPE, ECONNRESET, ECONNABORTED. */
export const PEER_CLOSED = -2;
/** The record was larger than the buffer; its rest and its fds are gone (MSG_TRUNC). */
export const RECORD_TRUNCATED = -3;
/** A signal came first; nothing happened (EINTR). */
export const INTERRUPTED = -4;
/** The kernel takes no more fds from this user now (ETOOMANYREFS). */
export const FDS_REFUSED = -5;
/** This process or the machine has no free fd left (EMFILE, ENFILE). */
export const FD_TABLE_FULL = -6;
/** The kernel has no memory for it now (ENOBUFS, ENOMEM). */
export const NO_MEMORY = -7;
/** The record is larger than the socket's send buffer can ever hold (EMSGSIZE). */
export const RECORD_TOO_LARGE = -8;
/** The receiver takes no fds at all (EPERM, its SO_PASSRIGHTS is off). */
export const FDS_UNWANTED = -9;

const OUTCOME_NAMES: readonly string[] = [
  "OK",
  "WOULD_BLOCK",
  "PEER_CLOSED",
  "RECORD_TRUNCATED",
  "INTERRUPTED",
  "FDS_REFUSED",
  "FD_TABLE_FULL",
  "NO_MEMORY",
  "RECORD_TOO_LARGE",
  "FDS_UNWANTED",
];

/** errno, name, meaning in a few words. */
const ERRNOS: readonly (readonly [number, string, string])[] = [
  [kernel.EPERM, "EPERM", "not permitted"],
  [kernel.ENOENT, "ENOENT", "no such file or directory"],
  [kernel.ESRCH, "ESRCH", "no such process"],
  [kernel.EINTR, "EINTR", "interrupted by a signal"],
  [kernel.EIO, "EIO", "input or output error"],
  [kernel.EBADF, "EBADF", "not an open file descriptor"],
  [kernel.EAGAIN, "EAGAIN", "would have to wait"],
  [kernel.ENOMEM, "ENOMEM", "out of memory"],
  [kernel.EACCES, "EACCES", "permission denied"],
  [kernel.EFAULT, "EFAULT", "bad address"],
  [kernel.EBUSY, "EBUSY", "busy"],
  [kernel.EEXIST, "EEXIST", "exists already"],
  [kernel.ENODEV, "ENODEV", "no such device"],
  [kernel.ENOTDIR, "ENOTDIR", "not a directory"],
  [kernel.EISDIR, "EISDIR", "is a directory"],
  [kernel.EINVAL, "EINVAL", "invalid argument"],
  [kernel.ENFILE, "ENFILE", "the system has no free file descriptor"],
  [kernel.EMFILE, "EMFILE", "the process has no free file descriptor"],
  [kernel.EFBIG, "EFBIG", "file too large"],
  [kernel.ENOSPC, "ENOSPC", "no space left"],
  [kernel.EROFS, "EROFS", "read-only file system"],
  [kernel.EPIPE, "EPIPE", "the other side is closed"],
  [kernel.ERANGE, "ERANGE", "result does not fit"],
  [kernel.ENAMETOOLONG, "ENAMETOOLONG", "name too long"],
  [kernel.ENOLCK, "ENOLCK", "no locks left"],
  [kernel.ENOSYS, "ENOSYS", "the kernel does not have this call"],
  [kernel.ELOOP, "ELOOP", "too many symbolic links"],
  [kernel.ENODATA, "ENODATA", "no data"],
  [kernel.EPROTO, "EPROTO", "protocol error"],
  [kernel.ENOTSOCK, "ENOTSOCK", "not a socket"],
  [kernel.EMSGSIZE, "EMSGSIZE", "record too large"],
  [kernel.EPROTOTYPE, "EPROTOTYPE", "a socket of another type is there"],
  [kernel.ENOPROTOOPT, "ENOPROTOOPT", "the kernel does not have this option"],
  [kernel.EPROTONOSUPPORT, "EPROTONOSUPPORT", "protocol not supported"],
  [kernel.EOPNOTSUPP, "EOPNOTSUPP", "not supported on this socket"],
  [kernel.EAFNOSUPPORT, "EAFNOSUPPORT", "address family not supported"],
  [kernel.EADDRINUSE, "EADDRINUSE", "address in use"],
  [kernel.EADDRNOTAVAIL, "EADDRNOTAVAIL", "address not available"],
  [kernel.ECONNABORTED, "ECONNABORTED", "connection aborted"],
  [kernel.ECONNRESET, "ECONNRESET", "the other side closed with data unread"],
  [kernel.ENOBUFS, "ENOBUFS", "no buffer space"],
  [kernel.EISCONN, "EISCONN", "connected already"],
  [kernel.ENOTCONN, "ENOTCONN", "not connected"],
  [kernel.ETOOMANYREFS, "ETOOMANYREFS", "too many file descriptors in flight"],
  [kernel.ETIMEDOUT, "ETIMEDOUT", "timed out"],
  [kernel.ECONNREFUSED, "ECONNREFUSED", "nobody listens"],
  [kernel.EINPROGRESS, "EINPROGRESS", "in progress"],
  [kernel.EDQUOT, "EDQUOT", "quota exceeded"],
];

const ERRNO_ENTRIES = new Map(ERRNOS.map((entry) => [entry[0], entry]));

/** The address is fixed for a thread's life; each Worker evaluates this module for itself. */
const errnoAddress = libc.__errno_location();
assert(errnoAddress !== null, "the C library has an errno");

/**
 * Reads errno(3) of this thread. Call it right after the failed call, before anything that could
 * allocate, and only when the result said that there was a failure.
 */
export function lastErrno(): number {
  return read.i32(errnoAddress as number, 0);
}

/**
 * The kernel's name of an errno, such as "ECONNREFUSED"; "ERRNO_n" for one that has no entry here.
 */
export function errnoName(errno: number): string {
  return ERRNO_ENTRIES.get(errno)?.[1] ?? `ERRNO_${errno}`;
}

/** The name of an outcome for messages; a result of 0 or more is "OK". */
export function outcomeName(outcome: number): string {
  if (outcome >= 0) return "OK";
  return OUTCOME_NAMES[-outcome] ?? `OUTCOME_${outcome}`;
}

/**
 * Makes the error for a failed system call; the caller throws it.
 * @param syscall the C name, such as "connect"
 * @param errno positive
 * @param subject what it was done to, such as "fd 7"; the quoted path where left out
 * @param path the file concerned, for the field of that name
 * @returns the error with message `Cannot connect "/run/bus.sock": ECONNREFUSED, nobody listens`
 */
export function syscallError(
  syscall: string,
  errno: number,
  subject?: string,
  path?: string,
): SyscallError {
  const code = errnoName(errno);
  const meaning = ERRNO_ENTRIES.get(errno)?.[2];
  const what = subject ?? (path === undefined ? "" : JSON.stringify(path));
  const message =
    `Cannot ${syscall}${what === "" ? "" : ` ${what}`}: ${code}` +
    (meaning === undefined ? "" : `, ${meaning}`);
  const fields = { code, errno, syscall };
  return new SyscallError(message, path === undefined ? fields : { ...fields, path });
}
