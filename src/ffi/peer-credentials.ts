/**
 * Who is on the other end of a connected Unix socket, by the kernel's word. The kernel notes it when
 * the peer calls connect(2) (for the accepting side), listen(2) (for the connecting side) or
 * socketpair(2), and it does not change when that process later changes its ids, passes the socket
 * on or dies. The pid may be dead and reused: never look anything up by it to grant a right.
 */

import type { Pointer } from "bun:ffi";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { openSeqpacketPair } from "./seqpacket.ts";
import { UCRED_BYTES, UCRED_GID_OFFSET, UCRED_UID_OFFSET, unpackU32 } from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

const GID_BYTES = 4;
/** 64 groups: more than nearly all users have, and longer than most labels. It grows for others. */
const ANSWER_BYTES_FIRST = 256;
const FD_BYTES = 4;
/** (uid_t) -1: the kernel's answer where nobody has connected yet. */
const ID_NONE = 0xffff_ffff;

/** struct ucred, and behind it the length as socklen_t. */
const credentialsScratch = new PinnedBuffer(UCRED_BYTES + 4);
const lengthScratch = new PinnedBuffer(4);
/** Answers whose length is not known beforehand. */
let answer = new PinnedBuffer(ANSWER_BYTES_FIRST);

const decoder = new TextDecoder();

/** The last answer to SO_PEERGROUPS, and what was made of it: those who come together are alike. */
let groupsTold = new Uint32Array(0);
let groupsMade: readonly number[] = [];

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
  const uid = getPeerUid(fd);
  const { words } = credentialsScratch;
  return { pid: unpackU32(words, 0), uid, gid: unpackU32(words, UCRED_GID_OFFSET) };
}

/**
 * getsockopt(2) SO_PEERCRED, the effective uid alone: makes no object.
 * @param fd a connected Unix socket, borrowed
 * @returns unsigned
 * @throws as getPeerCredentials()
 */
export function getPeerUid(fd: number): number {
  assertFd(fd, "fd");
  const words = credentialsScratch.words;
  words[UCRED_BYTES >>> 2] = UCRED_BYTES;
  const value = credentialsScratch.address as Pointer;
  const length = (credentialsScratch.address + UCRED_BYTES) as Pointer;
  if (libc.getsockopt(fd, kernel.SOL_SOCKET, kernel.SO_PEERCRED, value, length) < 0) {
    throw syscallError("getsockopt SO_PEERCRED", lastErrno(), `fd ${fd}`);
  }
  const uid = unpackU32(words, UCRED_UID_OFFSET);
  if (uid === ID_NONE) throw syscallError("getsockopt SO_PEERCRED", kernel.ENOTCONN, `fd ${fd}`);
  return uid;
}

/**
 * getsockopt(2) SO_PEERGROUPS: the supplementary groups of the peer. Its effective gid is not among
 * them unless it is also supplementary.
 * @param fd a connected Unix socket, borrowed
 * @returns gids, unsigned, ascending, each once; the same list for the same answer
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} ENOTCONN where the kernel names nobody; EBADF, ENOTSOCK; ENOPROTOOPT before
 *   Linux 4.13
 */
export function getPeerGroups(fd: number): readonly number[] {
  const bytes = readAnswer(fd, kernel.SO_PEERGROUPS);
  if (bytes < 0) throw peerError("SO_PEERGROUPS", -bytes, fd);
  const count = bytes / GID_BYTES;
  if (!isToldAgain(count)) {
    groupsTold = answer.words.slice(0, count);
    groupsMade = Array.from(new Set(groupsTold)).sort((a, b) => a - b);
  }
  return groupsMade;
}

/** Whether the groups in `answer` are those of the answer before. */
function isToldAgain(count: number): boolean {
  if (groupsTold.length !== count) return false;
  for (let index = 0; index < count; index += 1) {
    if (groupsTold[index] !== answer.words[index]) return false;
  }
  return true;
}

/**
 * getsockopt(2) SO_PEERSEC: the label that a security module (SELinux, AppArmor, Smack) gave the
 * peer, as that module writes it; AppArmor adds its mode, as in `firefox (enforce)`.
 * @param fd a connected Unix socket, borrowed
 * @returns undefined where no module labels sockets (ENOPROTOOPT), or the label is empty
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} ENOTCONN where the kernel names nobody; EBADF, ENOTSOCK
 */
export function getPeerLabel(fd: number): string | undefined {
  const bytes = readAnswer(fd, kernel.SO_PEERSEC);
  if (bytes === -kernel.ENOPROTOOPT) return undefined;
  if (bytes < 0) throw peerError("SO_PEERSEC", -bytes, fd);
  return decodeLabel(answer.bytes.subarray(0, bytes));
}

/**
 * The text of a label. Some modules count a NUL at its end, others do not.
 * @param bytes borrowed
 * @returns undefined for an empty label
 */
export function decodeLabel(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  const label = decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  return label === "" ? undefined : label;
}

/**
 * getsockopt(2) SO_PEERPIDFD: a pidfd of the process that SO_PEERCRED names. It means that process
 * for ever, while its pid may come to mean another.
 * @param fd a connected Unix socket, borrowed
 * @returns close-on-exec; undefined where the kernel has none: before Linux 6.5 (ENOPROTOOPT), or
 *   for a process that is gone (ESRCH, EINVAL, ENODATA; newer kernels give a pidfd even then)
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM; EBADF, ENOTSOCK
 */
export function getPeerPidfd(fd: number): OwnedFd | undefined {
  assertFd(fd, "fd");
  lengthScratch.words[0] = FD_BYTES;
  const value = answer.address as Pointer;
  const length = lengthScratch.address as Pointer;
  if (libc.getsockopt(fd, kernel.SOL_SOCKET, kernel.SO_PEERPIDFD, value, length) < 0) {
    const errno = lastErrno();
    if (PIDFD_ABSENT.includes(errno)) return undefined;
    throw syscallError("getsockopt SO_PEERPIDFD", errno, `fd ${fd}`);
  }
  return OwnedFd.adopt(unpackU32(answer.words, 0));
}

const PIDFD_ABSENT: readonly number[] = [
  kernel.ENOPROTOOPT,
  kernel.ESRCH,
  kernel.EINVAL,
  kernel.ENODATA,
];

/**
 * Asks the kernel for a pidfd of this very process, over a socketpair of its own: whether
 * getPeerPidfd() can answer at all.
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function supportsPeerPidfd(): boolean {
  const [near, far] = openSeqpacketPair();
  using socket = OwnedFd.adopt(near);
  using _peer = OwnedFd.adopt(far);
  using pidfd = getPeerPidfd(socket.number);
  return pidfd !== undefined;
}

/** Leaves the value of an option in `answer`. Returns its bytes, or minus the errno. */
function readAnswer(fd: number, option: number): number {
  assertFd(fd, "fd");
  for (;;) {
    lengthScratch.words[0] = answer.byteLength;
    const value = answer.address as Pointer;
    const length = lengthScratch.address as Pointer;
    const result = libc.getsockopt(fd, kernel.SOL_SOCKET, option, value, length);
    const errno = result < 0 ? lastErrno() : 0;
    const bytes = unpackU32(lengthScratch.words, 0);
    if (errno === 0) return bytes;
    // With ERANGE the kernel writes the length that it needs. It never changes for a socket.
    if (errno !== kernel.ERANGE || bytes <= answer.byteLength) return -errno;
    answer = new PinnedBuffer(bytes);
  }
}

function peerError(option: string, errno: number, fd: number) {
  const told = errno === kernel.ENODATA ? kernel.ENOTCONN : errno;
  return syscallError(`getsockopt ${option}`, told, `fd ${fd}`);
}
