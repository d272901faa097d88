/**
 * sendmsg(2) and recvmsg(2) with file descriptors (SCM_RIGHTS), and with the sender of each record
 * (SCM_CREDENTIALS) where that is asked for. The only way to receive here, since any peer may attach
 * fds to any record, and each one that is not fetched and closed is a leak.
 *
 * Never set SO_PASSPIDFD on a socket that is read here: the pidfds would not be closed.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import { ArgumentError, LimitError } from "../errors.ts";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { closeFd } from "./owned-fd.ts";
import { assertRange, PinnedBuffer } from "./pinned-buffer.ts";
import { sendFailure } from "./seqpacket.ts";
import * as structs from "./structs.ts";
import {
  FDS_REFUSED,
  FDS_UNWANTED,
  lastErrno,
  NO_MEMORY,
  PEER_CLOSED,
  RECORD_TRUNCATED,
  syscallError,
  WOULD_BLOCK,
} from "./syscall-result.ts";

const FD_BYTES = 4;
const RECEIVE_FLAGS = kernel.MSG_DONTWAIT | kernel.MSG_CMSG_CLOEXEC;
const SEND_FLAGS = kernel.MSG_DONTWAIT | kernel.MSG_NOSIGNAL;

/** Room for the most fds that one record can carry, and for a struct ucred beside them. */
export const CONTROL_BYTES: number =
  structs.controlSpace(kernel.SCM_MAX_FD * FD_BYTES) + structs.controlSpace(structs.UCRED_BYTES);

/**
 * What recvmsg(2) and sendmsg(2) are given, in one piece of memory:
 *
 *     0    struct msghdr   56 bytes
 *     56   struct iovec    16 bytes
 *     72   control data    CONTROL_BYTES
 */
const IOVEC_OFFSET = structs.MSGHDR_BYTES;
const CONTROL_OFFSET = IOVEC_OFFSET + structs.IOVEC_BYTES;
const SCRATCH_BYTES = CONTROL_OFFSET + CONTROL_BYTES;

const CONTROLLEN_WORD = structs.MSGHDR_CONTROLLEN_OFFSET >>> 2;
const FLAGS_WORD = structs.MSGHDR_FLAGS_OFFSET >>> 2;

function createScratch(): PinnedBuffer {
  const scratch = new PinnedBuffer(SCRATCH_BYTES);
  structs.packMessageHeader(scratch.words, 0, {
    iovecAddress: scratch.address + IOVEC_OFFSET,
    controlAddress: scratch.address + CONTROL_OFFSET,
    controlBytes: 0,
  });
  return scratch;
}

/**
 * Receives records into one buffer, and holds the fds of the last record until they are taken or
 * closed. One object serves any number of sockets, one after the other.
 */
export class PacketReceiver {
  /** Where the record is after receive(): from byte 0 on. */
  readonly buffer: PinnedBuffer;
  readonly #close: (fd: number) => void;
  readonly #scratch = createScratch();
  readonly #fds = new Int32Array(CONTROL_BYTES / FD_BYTES);
  #controlBytes = CONTROL_BYTES;
  #fdCount = 0;
  #controlTruncated = false;
  #hasCredentials = false;
  #credentialsPid = 0;
  #credentialsUid = 0;
  #credentialsGid = 0;

  /**
   * @param buffer receives the records; shared with the caller
   * @param capacityBytes the longest record that is taken whole, 1..buffer.byteLength
   * @param close closes an fd that nobody takes; who must not wait needs another one than closeFd()
   */
  constructor(
    buffer: PinnedBuffer,
    capacityBytes: number = buffer.byteLength,
    close: (fd: number) => void = closeFd,
  ) {
    assertRange(buffer, 0, capacityBytes);
    assert(capacityBytes >= 1, "a receiver has room for a record");
    this.buffer = buffer;
    this.#close = close;
    const words = this.#scratch.words;
    structs.packU64(words, IOVEC_OFFSET, buffer.address);
    structs.packU64(words, IOVEC_OFFSET + structs.IOVEC_LEN_OFFSET, capacityBytes);
  }

  /**
   * Sets how many fds of a record are taken from now on. With more, the first of them come and the
   * kernel drops the others: controlTruncated tells. At first it is as many as a record can have.
   * @param count 0..253
   * @param hasCredentials whether records bring their sender's credentials, which need room, too
   */
  limitFds(count: number, hasCredentials: boolean): void {
    assert(count >= 0 && count <= kernel.SCM_MAX_FD, "a record can have so many fds");
    const credentials = hasCredentials ? structs.controlSpace(structs.UCRED_BYTES) : 0;
    // Not padded: the kernel would take the padding for one fd more.
    const fds = count === 0 ? 0 : structs.CMSGHDR_BYTES + count * FD_BYTES;
    this.#controlBytes = credentials + fds;
  }

  /** How many fds of the last record wait for takeFds() or closeFds(). */
  get receivedFdCount(): number {
    return this.#fdCount;
  }

  /**
   * MSG_CTRUNC: fds of the last record are missing, because of limitFds() or since this process may
   * hold no more.
   * Those that did arrive are held as usual.
   */
  get controlTruncated(): boolean {
    return this.#controlTruncated;
  }

  /**
   * Whether the last record said who sent it: SCM_CREDENTIALS, which comes with every record of a
   * socket that has SO_PASSCRED (enablePacketCredentials()), and with none of any other socket.
   */
  get hasCredentials(): boolean {
    return this.#hasCredentials;
  }

  /**
   * The process that sent the last record; 0 where it cannot be seen from this pid namespace, or
   * sent before SO_PASSCRED stood. Good only with hasCredentials, like the two below.
   */
  get credentialsPid(): number {
    return this.#credentialsPid;
  }

  /**
   * The sender's real uid, while SO_PEERCRED names the effective one. The sender may name another
   * of its own ids itself, and with CAP_SETUID any.
   */
  get credentialsUid(): number {
    return this.#credentialsUid;
  }

  /** The sender's real gid, as credentialsUid. */
  get credentialsGid(): number {
    return this.#credentialsGid;
  }

  /**
   * recvmsg(2) of one record, without waiting. Received fds are close-on-exec.
   *
   * The fds of the record before must have been taken or closed. ECONNRESET is not the end: it tells
   * once that the peer closed without reading everything, and what the peer sent before can still
   * be received; so the call is repeated, once.
   * @param fd borrowed
   * @returns bytes received (1..capacityBytes), WOULD_BLOCK, PEER_CLOSED, NO_MEMORY, or
   *   RECORD_TRUNCATED (longer than capacityBytes; its fds are closed already). An empty record
   *   counts as PEER_CLOSED, as the kernel cannot tell them apart; its fds are closed already
   * @throws {ArgumentError} ARGUMENT_FD
   * @throws {AssertionError} when fds of the record before are still held
   * @throws {SyscallError} any other errno
   */
  receive(fd: number): number {
    assertFd(fd, "fd");
    assert(this.#fdCount === 0, "the fds of the last record are taken or closed");
    const words = this.#scratch.words;
    this.#controlTruncated = false;
    this.#hasCredentials = false;
    let wasReset = false;
    for (;;) {
      words[CONTROLLEN_WORD] = this.#controlBytes;
      const bytes = libc.recvmsg(fd, this.#scratch.address as Pointer, RECEIVE_FLAGS);
      if (bytes >= 0) {
        return this.accept(bytes, words[CONTROLLEN_WORD] as number, words[FLAGS_WORD] as number);
      }
      const errno = lastErrno();
      if (errno === kernel.EAGAIN) return WOULD_BLOCK;
      if (errno === kernel.EINTR) continue;
      if (errno !== kernel.ECONNRESET) return receiveFailure(fd, errno);
      if (wasReset) return PEER_CLOSED;
      wasReset = true;
    }
  }

  /**
   * Hands the fds of the last record over.
   * @returns them in the order of sending, each owned by the caller and close-on-exec; empty if none
   */
  takeFds(): number[] {
    const fds: number[] = [];
    for (let index = 0; index < this.#fdCount; index += 1) fds.push(this.#fds[index] as number);
    this.#fdCount = 0;
    return fds;
  }

  /**
   * Closes the fds of the last record that were not taken.
   * @returns how many there were
   */
  closeFds(): number {
    const count = this.#fdCount;
    this.#fdCount = 0;
    for (let index = 0; index < count; index += 1) this.#close(this.#fds[index] as number);
    return count;
  }

  /**
   * Writes a struct msghdr with which somebody else receives a record for this object, and then
   * accept() takes it in. For recvmmsg(2): see received-records.ts.
   * @param words borrowed; the header points into this object, which must outlive its use
   * @param byteOffset a multiple of 8
   */
  packHeader(words: Uint32Array, byteOffset: number): void {
    structs.packMessageHeader(words, byteOffset, {
      iovecAddress: this.#scratch.address + IOVEC_OFFSET,
      controlAddress: this.#scratch.address + CONTROL_OFFSET,
      controlBytes: CONTROL_BYTES,
    });
  }

  /**
   * Takes in a record that the kernel has left in the memory of this object. No fds of a record
   * before may be held.
   * @param bytes that were received, 0 or more
   * @param controlBytes msg_controllen, as the kernel left it
   * @param flags msg_flags
   * @returns as receive(): bytes, RECORD_TRUNCATED or PEER_CLOSED
   */
  accept(bytes: number, controlBytes: number, flags: number): number {
    this.#hasCredentials = false;
    if (controlBytes !== 0) this.#collectControl(controlBytes);
    this.#controlTruncated = (flags & kernel.MSG_CTRUNC) !== 0;
    if ((flags & kernel.MSG_TRUNC) !== 0) {
      this.closeFds();
      return RECORD_TRUNCATED;
    }
    if (bytes === 0) {
      this.closeFds();
      return PEER_CLOSED;
    }
    return bytes;
  }

  /** Walks all ancillary messages, as CMSG_NXTHDR(3) would: every fd, and the credentials. */
  #collectControl(controlBytes: number): void {
    const words = this.#scratch.words;
    const end = CONTROL_OFFSET + controlBytes;
    let offset = CONTROL_OFFSET;
    while (offset + structs.CMSGHDR_BYTES <= end) {
      const length = words[offset >>> 2] as number;
      assert(length >= structs.CMSGHDR_BYTES, "an ancillary message has its header");
      assert(offset + length <= end, "an ancillary message lies inside the control data");
      const level = words[(offset + structs.CMSGHDR_LEVEL_OFFSET) >>> 2];
      const type = words[(offset + structs.CMSGHDR_TYPE_OFFSET) >>> 2];
      const data = offset + structs.CMSGHDR_BYTES;
      if (level === kernel.SOL_SOCKET && type === kernel.SCM_RIGHTS) {
        this.#collectFds(data, offset + length);
      } else if (level === kernel.SOL_SOCKET && type === kernel.SCM_CREDENTIALS) {
        assert(length >= structs.CMSGHDR_BYTES + structs.UCRED_BYTES, "the credentials are whole");
        this.#collectCredentials(data);
      }
      offset += structs.alignControl(length);
    }
  }

  #collectFds(start: number, end: number): void {
    const words = this.#scratch.words;
    for (let index = start >>> 2; index < end >>> 2; index += 1) {
      this.#fds[this.#fdCount] = words[index] as number;
      this.#fdCount += 1;
    }
  }

  #collectCredentials(start: number): void {
    const words = this.#scratch.words;
    this.#hasCredentials = true;
    this.#credentialsPid = structs.unpackU32(words, start);
    this.#credentialsUid = structs.unpackU32(words, start + structs.UCRED_UID_OFFSET);
    this.#credentialsGid = structs.unpackU32(words, start + structs.UCRED_GID_OFFSET);
  }
}

function receiveFailure(fd: number, errno: number): number {
  if (errno === kernel.ENOMEM || errno === kernel.ENOBUFS) return NO_MEMORY;
  throw syscallError("recvmsg", errno, `fd ${fd}`);
}

const sendScratch = createScratch();

/**
 * sendmsg(2) of one record with fds attached. Never waits, never raises SIGPIPE, repeats after EINTR.
 * The receiver gets fds of its own; the caller still owns, and may close, those given here.
 * @param fd connected, borrowed
 * @param buffer borrowed
 * @param offset where the record starts
 * @param bytes its length, 1 or more
 * @param fds 1..253 open fds, borrowed; any other number of them is a bug or a LimitError
 * @returns `bytes`; or WOULD_BLOCK, PEER_CLOSED, NO_MEMORY, RECORD_TOO_LARGE, FDS_REFUSED (more
 *   fds are in flight than this user may have: ETOOMANYREFS, counted per user against the sender's
 *   RLIMIT_NOFILE) or FDS_UNWANTED (the receiver takes none: EPERM, SO_PASSRIGHTS off). Nothing was
 *   sent then
 * @throws {ArgumentError} ARGUMENT_FD, also for an element of fds, and where one of them is not open
 * @throws {LimitError} LIMIT_MESSAGE_FDS for more than 253 fds
 * @throws {AssertionError} for no fds, or a range outside the buffer
 * @throws {SyscallError} any other errno
 * @see unix(7) SCM_RIGHTS
 */
export function sendPacketWithFds(
  fd: number,
  buffer: PinnedBuffer,
  offset: number,
  bytes: number,
  fds: readonly number[],
): number {
  assertFd(fd, "fd");
  assertRange(buffer, offset, bytes);
  assert(bytes >= 1, "fds travel with at least one byte");
  packFds(fds);
  const words = sendScratch.words;
  structs.packU64(words, IOVEC_OFFSET, buffer.address + offset);
  structs.packU64(words, IOVEC_OFFSET + structs.IOVEC_LEN_OFFSET, bytes);
  for (;;) {
    const sent = libc.sendmsg(fd, sendScratch.address as Pointer, SEND_FLAGS);
    if (sent >= 0) return sent;
    const errno = lastErrno();
    if (errno === kernel.ETOOMANYREFS) return FDS_REFUSED;
    if (errno === kernel.EPERM) return FDS_UNWANTED;
    if (errno === kernel.EBADF) throw notOpen(fds) ?? syscallError("sendmsg", errno, `fd ${fd}`);
    if (errno !== kernel.EINTR) return sendFailure("sendmsg", fd, errno);
  }
}

/** The kernel says only that one of them is not open. @returns undefined where all are */
function notOpen(fds: readonly number[]): ArgumentError | undefined {
  const closed = fds.find((fd) => libc.fcntl(fd, kernel.F_GETFD, 0) < 0);
  if (closed === undefined) return undefined;
  const message = `Cannot send file descriptor ${closed}: it is not open`;
  return new ArgumentError("ARGUMENT_FD", message, "fds");
}

/** Leaves one SCM_RIGHTS message in sendScratch. */
function packFds(fds: readonly number[]): void {
  const count = fds.length;
  assert(count >= 1, "sendPacketWithFds() has fds to send");
  if (count > kernel.SCM_MAX_FD) {
    throw new LimitError(
      "LIMIT_MESSAGE_FDS",
      `Cannot send ${count} file descriptors in one record, limit is ${kernel.SCM_MAX_FD}`,
      { limit: kernel.SCM_MAX_FD, actual: count },
    );
  }
  const words = sendScratch.words;
  const dataWord = (CONTROL_OFFSET + structs.CMSGHDR_BYTES) >>> 2;
  for (let index = 0; index < count; index += 1) {
    const fd = fds[index];
    assertFd(fd, "fds");
    words[dataWord + index] = fd;
  }
  const dataBytes = count * FD_BYTES;
  structs.packU64(words, CONTROL_OFFSET, structs.CMSGHDR_BYTES + dataBytes);
  words[(CONTROL_OFFSET + structs.CMSGHDR_LEVEL_OFFSET) >>> 2] = kernel.SOL_SOCKET;
  words[(CONTROL_OFFSET + structs.CMSGHDR_TYPE_OFFSET) >>> 2] = kernel.SCM_RIGHTS;
  words[CONTROLLEN_WORD] = structs.controlSpace(dataBytes);
}
