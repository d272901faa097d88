/**
 * Who is on the other end of a connected Unix socket, by the kernel's word. The kernel notes it when
 * the peer calls connect(2) (for the accepting side), listen(2) (for the connecting side) or
 * socketpair(2), and it does not change when that process later changes its ids, passes the socket
 * on or dies. The pid may be dead and reused: never look anything up by it to grant a right.
 */

import type { Pointer } from "bun:ffi";
import { ENODATA, ENOTCONN, ERANGE, SO_PEERCRED, SO_PEERGROUPS, SOL_SOCKET } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { UCRED_BYTES, UCRED_GID_OFFSET, UCRED_UID_OFFSET, unpackU32 } from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const GID_BYTES = 4;
/** More than nearly all users have; the loop below grows for the others. */
const GROUPS_GUESS = 64;
/** (uid_t) -1: the kernel's answer where nobody has connected yet. */
const ID_NONE = 0xffff_ffff;

/** struct ucred, and behind it the length as socklen_t. */
const credentialsScratch = new PinnedBuffer(UCRED_BYTES + 4);
const lengthScratch = new PinnedBuffer(4);
let groupsScratch = new PinnedBuffer(GROUPS_GUESS * GID_BYTES);

/** What SO_PEERCRED says. */
export interface PeerCredentials {
  /** 0 where the peer lives in a pid namespace that this process cannot see. */
  readonly pid: number;
  /** Effective uid, unsigned. */
  readonly uid: number;
  /** Effective gid, unsigned. */
  readonly gid: number;
}

/**
 * getsockopt(2) SO_PEERCRED.
 * @param fd a connected Unix socket, borrowed
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} ENOTCONN where the kernel names nobody; EBADF, ENOTSOCK
 * @see unix(7) SO_PEERCRED
 */
export function getPeerCredentials(fd: number): PeerCredentials {
  assertFd(fd, "fd");
  const words = credentialsScratch.words;
  words[UCRED_BYTES >>> 2] = UCRED_BYTES;
  const value = credentialsScratch.address as Pointer;
  const length = (credentialsScratch.address + UCRED_BYTES) as Pointer;
  if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length) < 0) {
    throw syscallError("getsockopt SO_PEERCRED", lastErrno(), `fd ${fd}`);
  }
  const uid = unpackU32(words, UCRED_UID_OFFSET);
  if (uid === ID_NONE) throw syscallError("getsockopt SO_PEERCRED", ENOTCONN, `fd ${fd}`);
  return { pid: unpackU32(words, 0), uid, gid: unpackU32(words, UCRED_GID_OFFSET) };
}

/**
 * getsockopt(2) SO_PEERGROUPS: the supplementary groups of the peer. Its effective gid is not among
 * them unless it is also supplementary.
 * @param fd a connected Unix socket, borrowed
 * @returns gids, unsigned, ascending, each once
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} ENOTCONN where the kernel names nobody; EBADF, ENOTSOCK; ENOPROTOOPT before
 *   Linux 4.13
 */
export function getPeerGroups(fd: number): number[] {
  assertFd(fd, "fd");
  for (;;) {
    lengthScratch.words[0] = groupsScratch.byteLength;
    const value = groupsScratch.address as Pointer;
    const length = lengthScratch.address as Pointer;
    if (libc.getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, value, length) === 0) break;
    const errno = lastErrno();
    if (errno === ENODATA) throw syscallError("getsockopt SO_PEERGROUPS", ENOTCONN, `fd ${fd}`);
    if (errno !== ERANGE) throw syscallError("getsockopt SO_PEERGROUPS", errno, `fd ${fd}`);
    // With ERANGE the kernel writes the length that it needs. It never changes for a socket.
    groupsScratch = new PinnedBuffer(unpackU32(lengthScratch.words, 0));
  }
  const count = unpackU32(lengthScratch.words, 0) / GID_BYTES;
  const groups = new Set(groupsScratch.words.subarray(0, count));
  return Array.from(groups).sort((a, b) => a - b);
}
