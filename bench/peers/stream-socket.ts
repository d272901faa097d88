/**
 * Stream sockets for the raw clients of peers, which speak over pathnames or loopback TCP. seqbus
 * itself has no use for them, so src/ffi does not open any. Only for benchmarks.
 */

import { dlopen, type Pointer } from "bun:ffi";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { lastErrno, syscallError } from "../../src/ffi/syscall-result.ts";
import { connectPatiently } from "../patient-connect.ts";

const AF_UNIX = 1;
const AF_INET = 2;
const SHUT_WR = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const MSG_DONTWAIT = 0x40;
const EAGAIN = 11;

const STREAM = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

const libc = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i32" },
}).symbols;

/** What recvStream() returns where nothing is there. */
export const NOTHING_YET = -1;

/** Where a peer listens: a pathname, or "127.0.0.1:PORT" for one that has no Unix socket. */
export function openStream(address: string): number {
  const port = /^127\.0\.0\.1:(\d+)$/.exec(address)?.[1];
  if (port !== undefined) return openTcp(Number(port));
  const fd = openUnixStream();
  try {
    connectPatiently(fd, address);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** A stream socket that is neither bound nor connected. @returns the fd, owned by the caller */
export function openUnixStream(): number {
  const fd = libc.socket(AF_UNIX, STREAM, 0);
  if (fd < 0) throw syscallError("socket", lastErrno(), "AF_UNIX SOCK_STREAM");
  return fd;
}

/** socketpair(2), non-blocking stream. @returns two fds, owned by the caller */
export function openStreamPair(): [number, number] {
  const pair = new PinnedBuffer(8);
  if (libc.socketpair(AF_UNIX, STREAM, 0, pair.address as Pointer) < 0) {
    throw syscallError("socketpair", lastErrno(), "AF_UNIX SOCK_STREAM");
  }
  return [pair.words[0] as number, pair.words[1] as number];
}

/**
 * recv(2) of what is there.
 * @param offset where the bytes go in `buffer`
 * @returns bytes, 0 at end-of-file, or NOTHING_YET
 * @throws {SyscallError} any errno but EAGAIN
 */
export function recvStream(fd: number, buffer: PinnedBuffer, offset: number): number {
  const room = buffer.byteLength - offset;
  const bytes = libc.recv(fd, (buffer.address + offset) as Pointer, room, MSG_DONTWAIT);
  if (bytes >= 0) return bytes;
  const errno = lastErrno();
  if (errno === EAGAIN) return NOTHING_YET;
  throw syscallError("recv", errno, `fd ${fd}`);
}

/** shutdown(2) SHUT_WR: the other side reads the end behind what was sent. @param fd borrowed */
export function endSending(fd: number): void {
  if (libc.shutdown(fd, SHUT_WR) < 0) throw syscallError("shutdown", lastErrno(), `fd ${fd}`);
}

/** Connects to a port of this machine; a connection is made, or refused, at once. */
function openTcp(port: number): number {
  const fd = libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw syscallError("socket", lastErrno(), "AF_INET SOCK_STREAM");
  const address = new PinnedBuffer(16);
  const view = new DataView(address.bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  view.setUint32(4, 0x7f000001);
  if (libc.connect(fd, address.address as Pointer, 16) < 0) {
    throw syscallError("connect", lastErrno(), `port ${port}`);
  }
  const on = new PinnedBuffer(4);
  on.words[0] = 1;
  libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, on.address as Pointer, 4);
  return fd;
}
