/** How much may wait for one connection: what limits.ts says of send queues, asked of one. Pure. */

import { PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import type { LimitFigures } from "../quotas/excess.ts";
import {
  FDS_WAITING_TOGETHER,
  LATEST_BYTES_KEPT,
  MEMORY_WAITING_TOGETHER,
  SEND_QUEUE_BYTES_HOLD,
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
  SEND_QUEUE_CONTROL_BYTES_MAX,
  SEND_QUEUE_FDS_HOLD,
  SEND_QUEUE_FDS_MAX,
  SEND_QUEUE_FDS_RESUME,
  SEND_QUEUE_MEMORY_BYTES_HOLD,
  SEND_QUEUE_MEMORY_BYTES_MAX,
  SEND_QUEUE_MEMORY_BYTES_RESUME,
} from "./limits.ts";

/** What waits, or what is to be added. */
export interface QueueLoad {
  readonly bytes: number;
  readonly fds: number;
  /** Of large bodies. */
  readonly memoryBytes: number;
}

/** What keeps more out of a queue, in numbers and in words. */
export interface Fullness extends LimitFigures {
  /** Such as `4194352 bytes would wait for it, limit is 4194304`. */
  readonly words: string;
}

/** Whether messages without fds fit. */
export function fits({ bytes }: QueueLoad, moreBytes: number): boolean {
  return bytes + moreBytes <= SEND_QUEUE_BYTES_MAX;
}

/** Whether a message with fds fits. */
export function fitsWithFds(
  waiting: QueueLoad,
  moreBytes: number,
  moreFds: number,
  moreMemoryBytes: number,
): boolean {
  if (waiting.fds + moreFds > SEND_QUEUE_FDS_MAX) return false;
  if (waiting.memoryBytes + moreMemoryBytes > SEND_QUEUE_MEMORY_BYTES_MAX) return false;
  return fits(waiting, moreBytes);
}

/** Whether a control frame fits, with the reserve. */
export function fitsReserve({ bytes }: QueueLoad, moreBytes: number): boolean {
  return bytes + moreBytes <= SEND_QUEUE_BYTES_MAX + SEND_QUEUE_CONTROL_BYTES_MAX;
}

/**
 * What may wait where messages are taken again after some were lost: half a queue.
 * @param bytesMax that the quota lets the queue hold
 */
export function resumeLoad(bytesMax: number): QueueLoad {
  return {
    bytes: Math.min(SEND_QUEUE_BYTES_RESUME, bytesMax / 2),
    fds: SEND_QUEUE_FDS_RESUME,
    memoryBytes: SEND_QUEUE_MEMORY_BYTES_RESUME,
  };
}

/** Bytes among which the newest message of each topic stays. @param bytesMax as for resumeLoad() */
export function keptLatest(bytesMax: number): number {
  return Math.min(LATEST_BYTES_KEPT, (bytesMax / 4) * 3);
}

/** Whether messages are taken again after some were lost. */
export function hasRoomAgain({ bytes, memoryBytes }: QueueLoad): boolean {
  return bytes <= SEND_QUEUE_BYTES_RESUME && memoryBytes <= SEND_QUEUE_MEMORY_BYTES_RESUME;
}

/** Whether publishers are to be held back for a client that asked for it, until isLow(). */
export function isHigh({ bytes, fds, memoryBytes }: QueueLoad): boolean {
  return (
    bytes > SEND_QUEUE_BYTES_HOLD ||
    fds > SEND_QUEUE_FDS_HOLD ||
    memoryBytes > SEND_QUEUE_MEMORY_BYTES_HOLD
  );
}

/**
 * Whether messages with fds that wait for others of the same turn are to leave now: nothing of a
 * client that keeps up comes near the limits.
 */
export function isCrowded({ fds, memoryBytes }: QueueLoad): boolean {
  return fds >= FDS_WAITING_TOGETHER || memoryBytes >= MEMORY_WAITING_TOGETHER;
}

/** Whether at most half of what may wait does. */
export function isLow(waiting: QueueLoad): boolean {
  return waiting.fds <= SEND_QUEUE_FDS_RESUME && hasRoomAgain(waiting);
}

/**
 * What kept messages out of a queue.
 * @param more what found no room; it counts as if it waited, too
 * @param ofQuota what the quota has no room for, if anything
 */
export function fullnessOf(
  waiting: QueueLoad,
  more: QueueLoad,
  ofQuota: Fullness | undefined,
): Fullness {
  const bytes = waiting.bytes + more.bytes;
  const ofBytes = wouldWait("bytes", bytes, SEND_QUEUE_BYTES_MAX);
  if (bytes > SEND_QUEUE_BYTES_MAX) return ofBytes;
  if (ofQuota !== undefined) return ofQuota;
  const fds = waiting.fds + more.fds;
  if (fds > SEND_QUEUE_FDS_MAX) return wouldWait("file descriptors", fds, SEND_QUEUE_FDS_MAX);
  const memory = waiting.memoryBytes + more.memoryBytes;
  if (memory > SEND_QUEUE_MEMORY_BYTES_MAX) {
    return wouldWait(OF_LARGE, memory, SEND_QUEUE_MEMORY_BYTES_MAX);
  }
  return stillLosing(waiting) ?? ofBytes;
}

/** Once messages are lost nothing is taken until much of what waits has left. */
function stillLosing({ bytes, memoryBytes }: QueueLoad): Fullness | undefined {
  if (bytes > SEND_QUEUE_BYTES_RESUME) return stillWait("bytes", bytes, SEND_QUEUE_BYTES_RESUME);
  if (memoryBytes <= SEND_QUEUE_MEMORY_BYTES_RESUME) return undefined;
  return stillWait(OF_LARGE, memoryBytes, SEND_QUEUE_MEMORY_BYTES_RESUME);
}

/**
 * What kept control frames out of a queue.
 * @param more as in fullnessOf()
 * @param reserveBytes used of the reserve beyond the quota, which whole packets are taken from
 */
export function controlFullnessOf(
  waiting: QueueLoad,
  more: QueueLoad,
  reserveBytes: number,
): Fullness {
  const limit = SEND_QUEUE_BYTES_MAX + SEND_QUEUE_CONTROL_BYTES_MAX;
  const reserve = reserveBytes + PACKET_BYTES_MAX;
  if (fitsReserve(waiting, more.bytes) && reserve > SEND_QUEUE_CONTROL_BYTES_MAX) {
    return wouldWait("bytes beyond the quota", reserve, SEND_QUEUE_CONTROL_BYTES_MAX);
  }
  return wouldWait("bytes", waiting.bytes + more.bytes, limit);
}

const OF_LARGE = "bytes of large messages";

function wouldWait(what: string, actual: number, limit: number): Fullness {
  return { limit, actual, words: `${actual} ${what} would wait for it, limit is ${limit}` };
}

function stillWait(what: string, actual: number, limit: number): Fullness {
  const words = `it loses messages, and ${actual} ${what} wait for it where ${limit} may again`;
  return { limit, actual, words };
}
