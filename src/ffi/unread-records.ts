/**
 * ioctl(2) SIOCOUTQ: how many of the records that were sent on a Unix socket the other end may not
 * have received yet. The only way to learn that an fd was taken. Only for sockets of our own: an
 * ioctl on a stranger's file may never return.
 */

import { assert } from "../assert.ts";
import { assertFd } from "./fd-number.ts";
import { closeFd } from "./owned-fd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { openSeqpacketPair, sendPacket } from "./seqpacket.ts";
import { getUnreadBytes } from "./unread-bytes.ts";

const scratch = new PinnedBuffer(1);

/** Bytes that the kernel charges for the smallest record; 0 until prepareUnreadRecords(). */
let smallestRecordBytes = 0;

/**
 * ioctl(2) SIOCOUTQ. The kernel tells the memory of the records that wait; what even the smallest
 * takes of it (768 bytes on Linux 6.18) bounds their number. After prepareUnreadRecords() alone.
 * @param fd a connected Unix socket, borrowed
 * @returns no record but the last so many that were sent can still be unread. Exact where all are
 *   small, and where it is 0; a record that is closed unread counts as received
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF, ENOTTY
 * @see unix(7) SIOCOUTQ
 */
export function countUnreadRecords(fd: number): number {
  assertFd(fd, "fd");
  assert(smallestRecordBytes > 0, "the smallest record was measured");
  return Math.floor(getUnreadBytes(fd) / smallestRecordBytes);
}

/**
 * socketpair(2), send(2) and ioctl(2): measures what the kernel charges for the smallest record, once
 * for the process. Takes two fds for a moment, so: at the start, when there are some.
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function prepareUnreadRecords(): void {
  if (smallestRecordBytes === 0) smallestRecordBytes = measureSmallestRecord();
}

function measureSmallestRecord(): number {
  const [from, to] = openSeqpacketPair();
  try {
    sendPacket(from, scratch, 0, 1);
    const bytes = getUnreadBytes(from);
    assert(bytes > 0, "the kernel charges for a record");
    return bytes;
  } finally {
    closeFd(from);
    closeFd(to);
  }
}
