/**
 * getsockopt(2) and setsockopt(2), one typed function per option. Options that tell who the peer is
 * are in peer-credentials.ts.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { unpackU32 } from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const INT_BYTES = 4;

/** 0: the int value, 4: its length as socklen_t. */
const scratch = new PinnedBuffer(2 * INT_BYTES);

/**
 * getsockopt(2) SO_TYPE.
 * @param fd borrowed
 * @returns SOCK_SEQPACKET or another SOCK_ number
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function getSocketType(fd: number): number {
  return getInteger(fd, kernel.SO_TYPE, "SO_TYPE");
}

/**
 * getsockopt(2) SO_DOMAIN.
 * @param fd borrowed
 * @returns AF_UNIX or another AF_ number
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function getSocketDomain(fd: number): number {
  return getInteger(fd, kernel.SO_DOMAIN, "SO_DOMAIN");
}

/**
 * getsockopt(2) SO_ACCEPTCONN: whether the socket listens.
 * @param fd borrowed
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function getAcceptConnections(fd: number): boolean {
  return getInteger(fd, kernel.SO_ACCEPTCONN, "SO_ACCEPTCONN") !== 0;
}

/**
 * getsockopt(2) SO_SNDBUF.
 * @param fd borrowed
 * @returns bytes of kernel memory, twice of what was set: it holds the kernel's own book-keeping too
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function getSendBufferBytes(fd: number): number {
  return getInteger(fd, kernel.SO_SNDBUF, "SO_SNDBUF");
}

/**
 * setsockopt(2) SO_SNDBUFFORCE, or SO_SNDBUF where that is not permitted, which stops silently at
 * net.core.wmem_max. On Unix sockets this is what bounds the records that wait at the receiver.
 * @param fd borrowed
 * @param bytes 1 or more; the kernel doubles it. Ask getSendBufferBytes() for what came of it
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function setSendBufferBytes(fd: number, bytes: number): void {
  assert(bytes >= 1, "a buffer has a size");
  if (setInteger(fd, kernel.SO_SNDBUFFORCE, bytes) === 0) return;
  const errno = setInteger(fd, kernel.SO_SNDBUF, bytes);
  if (errno !== 0) throw syscallError("setsockopt SO_SNDBUF", errno, `fd ${fd}`);
}

/**
 * setsockopt(2) SO_RCVBUFFORCE, or SO_RCVBUF where that is not permitted, which stops silently at
 * net.core.rmem_max. Unix sockets take no notice of it.
 * @param fd borrowed
 * @param bytes 1 or more; the kernel doubles it
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function setReceiveBufferBytes(fd: number, bytes: number): void {
  assert(bytes >= 1, "a buffer has a size");
  if (setInteger(fd, kernel.SO_RCVBUFFORCE, bytes) === 0) return;
  const errno = setInteger(fd, kernel.SO_RCVBUF, bytes);
  if (errno !== 0) throw syscallError("setsockopt SO_RCVBUF", errno, `fd ${fd}`);
}

/**
 * setsockopt(2) SO_PASSCRED on: every packet received from here on brings SCM_CREDENTIALS, which
 * the kernel writes where the sender did not. An accepted socket inherits it from its listener. Set
 * it on the listener, before listen(2): a packet that was sent before the option stood has none, and
 * then says pid 0.
 * @param fd a Unix socket, borrowed
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK
 * @see unix(7) SO_PASSCRED
 */
export function enablePacketCredentials(fd: number): void {
  const errno = setInteger(fd, kernel.SO_PASSCRED, 1);
  if (errno !== 0) throw syscallError("setsockopt SO_PASSCRED", errno, `fd ${fd}`);
}

/**
 * setsockopt(2) SO_PASSRIGHTS: whether others may send fds to the socket. Where they may not, their
 * sendmsg(2) fails with EPERM, and so no file ever gets here whose closing could block. Fds that
 * were sent before still arrive. A socket is open to fds until told otherwise; an accepted one
 * takes after its listener from connect(2) on.
 * @param fd a Unix socket, borrowed
 * @returns false where the kernel does not know the option (before Linux 6.16); nothing changes then
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTSOCK, EOPNOTSUPP (no Unix socket)
 */
export function setPassRights(fd: number, isOn: boolean): boolean {
  const errno = setInteger(fd, kernel.SO_PASSRIGHTS, isOn ? 1 : 0);
  if (errno === kernel.ENOPROTOOPT) return false;
  if (errno !== 0) throw syscallError("setsockopt SO_PASSRIGHTS", errno, `fd ${fd}`);
  return true;
}

function getInteger(fd: number, option: number, optionName: string): number {
  assertFd(fd, "fd");
  scratch.words[1] = INT_BYTES;
  const value = scratch.address as Pointer;
  const length = (scratch.address + INT_BYTES) as Pointer;
  if (libc.getsockopt(fd, kernel.SOL_SOCKET, option, value, length) < 0) {
    throw syscallError(`getsockopt ${optionName}`, lastErrno(), `fd ${fd}`);
  }
  return unpackU32(scratch.words, 0);
}

/** Returns 0 or the errno. */
function setInteger(fd: number, option: number, value: number): number {
  assertFd(fd, "fd");
  assert((value | 0) === value, "a socket option is a 32-bit integer");
  assert(value >= 0, "a size is not negative, and a switch is on or off");
  scratch.words[0] = value;
  const address = scratch.address as Pointer;
  if (libc.setsockopt(fd, kernel.SOL_SOCKET, option, address, INT_BYTES) === 0) return 0;
  return lastErrno();
}
