/**
 * Unix SOCK_SEQPACKET sockets: open, bind, listen, connect, accept, send. One send is one record and
 * arrives whole or not at all. Receiving is in ancillary.ts alone: a plain recv(2) would lose fds.
 *
 * Every socket made here is non-blocking and closed on exec. Abstract addresses are not offered.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import { ArgumentError } from "../errors.ts";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { closeFd } from "./owned-fd.ts";
import { assertRange, PinnedBuffer } from "./pinned-buffer.ts";
import * as structs from "./structs.ts";
import {
  FD_TABLE_FULL,
  INTERRUPTED,
  lastErrno,
  NO_MEMORY,
  PEER_CLOSED,
  RECORD_TOO_LARGE,
  syscallError,
  WOULD_BLOCK,
} from "./syscall-result.ts";

const SOCKET_TYPE = kernel.SOCK_SEQPACKET | kernel.SOCK_NONBLOCK | kernel.SOCK_CLOEXEC;
const ACCEPT_FLAGS = kernel.SOCK_NONBLOCK | kernel.SOCK_CLOEXEC;
const SEND_FLAGS = kernel.MSG_DONTWAIT | kernel.MSG_NOSIGNAL;

const addressScratch = new PinnedBuffer(structs.SOCKADDR_UN_BYTES);
const pairScratch = new PinnedBuffer(8);
const pathEncoder = new TextEncoder();

/**
 * socket(2) AF_UNIX, SOCK_SEQPACKET, non-blocking, close-on-exec.
 * @returns the fd, owned by the caller
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM, EAFNOSUPPORT
 */
export function openSeqpacket(): number {
  const fd = libc.socket(kernel.AF_UNIX, SOCKET_TYPE, 0);
  if (fd < 0) throw syscallError("socket", lastErrno(), "AF_UNIX SOCK_SEQPACKET");
  return fd;
}

/**
 * socket(2) and close(2), so that the kernel looks for AF_UNIX sockets that only hold each other in
 * flight: it does so when one is closed (net/unix/garbage.c), later and on a thread of its own. Where
 * there is no fd left nothing happens.
 */
export function collectUnixGarbage(): void {
  const fd = libc.socket(kernel.AF_UNIX, SOCKET_TYPE, 0);
  if (fd >= 0) closeFd(fd);
}

/**
 * socketpair(2) of the same kind.
 * @returns two connected fds, owned by the caller
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function openSeqpacketPair(): [number, number] {
  if (libc.socketpair(kernel.AF_UNIX, SOCKET_TYPE, 0, pairScratch.address as Pointer) < 0) {
    throw syscallError("socketpair", lastErrno(), "AF_UNIX SOCK_SEQPACKET");
  }
  return [structs.unpackU32(pairScratch.words, 0), structs.unpackU32(pairScratch.words, 4)];
}

/**
 * bind(2) to a pathname, which must not exist yet.
 * @param fd borrowed
 * @param path 1..107 bytes of UTF-8
 * @throws {ArgumentError} ARGUMENT_FD, ARGUMENT_SOCKET_PATH
 * @throws {SyscallError} EADDRINUSE (something is there), EACCES, ENOENT, EROFS
 */
export function bindPath(fd: number, path: string): void {
  assertFd(fd, "fd");
  const addressBytes = packPath(path);
  if (libc.bind(fd, addressScratch.address as Pointer, addressBytes) < 0) {
    throw syscallError("bind", lastErrno(), undefined, path);
  }
}

/**
 * listen(2).
 * @param fd bound, borrowed
 * @param backlog connections that may wait; the kernel cuts it to net.core.somaxconn
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EINVAL (not bound), EOPNOTSUPP
 */
export function listen(fd: number, backlog: number): void {
  assertFd(fd, "fd");
  if (libc.listen(fd, backlog) < 0) throw syscallError("listen", lastErrno(), `fd ${fd}`);
}

/**
 * connect(2) to a pathname. On Unix sockets it is done at once, also on a non-blocking one.
 * @param fd borrowed
 * @param path 1..107 bytes of UTF-8
 * @throws {ArgumentError} ARGUMENT_FD, ARGUMENT_SOCKET_PATH
 * @throws {SyscallError} ENOENT, ECONNREFUSED (nobody listens), EACCES, EPROTOTYPE (not SEQPACKET),
 *   EAGAIN (the listener's backlog is full: try again later)
 */
export function connectPath(fd: number, path: string): void {
  assertFd(fd, "fd");
  const addressBytes = packPath(path);
  if (libc.connect(fd, addressScratch.address as Pointer, addressBytes) < 0) {
    throw syscallError("connect", lastErrno(), undefined, path);
  }
}

/**
 * accept4(2): takes one waiting connection, non-blocking and close-on-exec.
 * @param listenFd borrowed
 * @returns the connection's fd, owned by the caller; or WOULD_BLOCK (none waits), INTERRUPTED,
 *   PEER_CLOSED (it gave up meanwhile), FD_TABLE_FULL (it still waits), NO_MEMORY
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} any other errno
 */
export function acceptConnection(listenFd: number): number {
  assertFd(listenFd, "listenFd");
  const fd = libc.accept4(listenFd, null, null, ACCEPT_FLAGS);
  return fd >= 0 ? fd : acceptFailure(listenFd, lastErrno());
}

function acceptFailure(listenFd: number, errno: number): number {
  switch (errno) {
    case kernel.EAGAIN:
      return WOULD_BLOCK;
    case kernel.EINTR:
      return INTERRUPTED;
    case kernel.ECONNABORTED:
      return PEER_CLOSED;
    case kernel.EMFILE:
    case kernel.ENFILE:
      return FD_TABLE_FULL;
    case kernel.ENOMEM:
    case kernel.ENOBUFS:
      return NO_MEMORY;
    default:
      throw syscallError("accept4", errno, `fd ${listenFd}`);
  }
}

/**
 * send(2) of one record. Never waits, never raises SIGPIPE, repeats after EINTR.
 * @param fd connected, borrowed
 * @param buffer borrowed
 * @param offset where the record starts
 * @param bytes its length, 1 or more: an empty record would look like end-of-file
 * @returns `bytes`; or WOULD_BLOCK, PEER_CLOSED (records from the peer may still wait to be
 *   received), NO_MEMORY, RECORD_TOO_LARGE (SO_SNDBUF)
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {AssertionError} for a range outside the buffer
 * @throws {SyscallError} any other errno
 */
export function sendPacket(
  fd: number,
  buffer: PinnedBuffer,
  offset: number,
  bytes: number,
): number {
  assertFd(fd, "fd");
  assertRange(buffer, offset, bytes);
  assert(bytes >= 1, "an empty record would look like end-of-file");
  for (;;) {
    const sent = libc.send(fd, (buffer.address + offset) as Pointer, bytes, SEND_FLAGS);
    if (sent >= 0) return sent;
    const errno = lastErrno();
    if (errno !== kernel.EINTR) return sendFailure("send", fd, errno);
  }
}

/**
 * Turns the errno of a failed send into an outcome; shared by all ways to send a record.
 * @param syscall "send" or "sendmsg"
 * @returns WOULD_BLOCK, PEER_CLOSED, NO_MEMORY or RECORD_TOO_LARGE
 * @throws {SyscallError} any other errno
 */
export function sendFailure(syscall: string, fd: number, errno: number): number {
  switch (errno) {
    case kernel.EAGAIN:
      return WOULD_BLOCK;
    case kernel.EPIPE:
    case kernel.ECONNRESET:
    case kernel.ENOTCONN:
    // Older kernels may answer this when the peer closes at the same moment.
    case kernel.ECONNREFUSED:
      return PEER_CLOSED;
    case kernel.ENOBUFS:
    case kernel.ENOMEM:
      return NO_MEMORY;
    case kernel.EMSGSIZE:
      return RECORD_TOO_LARGE;
    default:
      throw syscallError(syscall, errno, `fd ${fd}`);
  }
}

/**
 * shutdown(2) SHUT_RDWR: both sides read end-of-file once they have received what is queued. A socket
 * that is not connected any more is left as it is.
 * @param fd borrowed, stays open
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function shutdownBoth(fd: number): void {
  assertFd(fd, "fd");
  if (libc.shutdown(fd, kernel.SHUT_RDWR) === 0) return;
  const errno = lastErrno();
  if (errno !== kernel.ENOTCONN) throw syscallError("shutdown", errno, `fd ${fd}`);
}

/**
 * Checks that a path can be that of a socket, as bindPath() and connectPath() would.
 * @throws {ArgumentError} ARGUMENT_SOCKET_PATH
 */
export function checkSocketPath(path: string): void {
  packPath(path);
}

/** Checks the path and leaves the address in addressScratch; returns its length in bytes. */
function packPath(path: string): number {
  if (path === "") throw pathError("it is empty");
  if (path.includes("\0")) throw pathError("it holds a NUL byte");
  if (!path.isWellFormed()) throw pathError("it is not well-formed Unicode");
  const encoded = pathEncoder.encode(path);
  if (encoded.length > structs.SOCKADDR_UN_PATH_BYTES_MAX) {
    throw pathError(
      `it is ${encoded.length} bytes, limit is ${structs.SOCKADDR_UN_PATH_BYTES_MAX}`,
      path,
    );
  }
  return structs.packSocketAddress(addressScratch.bytes, kernel.AF_UNIX, encoded);
}

function pathError(problem: string, path?: string): ArgumentError {
  const subject = path === undefined ? "socket path" : `socket path ${JSON.stringify(path)}`;
  return new ArgumentError("ARGUMENT_SOCKET_PATH", `Cannot use ${subject}: ${problem}`, "path");
}
