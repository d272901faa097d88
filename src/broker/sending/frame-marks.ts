/**
 * What a send queue says in the header of a message about the fds that it came with, as kind words
 * (frame.ts). Pure; the rest of the header is the router's.
 */

import { copyPinned, PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { gapBody } from "../../protocol/control-messages.ts";
import {
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_ORIGIN_WORD,
  flagsOf,
  opcodeOf,
} from "../../protocol/frame.ts";
import {
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_RETAINED,
  GAP_REASON,
  OPCODE,
  WITHHELD_REASON,
} from "../../protocol/opcodes.ts";
import { isLarge, largeBodyBytes } from "../../protocol/packet.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "./control-frames.ts";
import type { QueuedPacket } from "./packet-pool.ts";
import { FDS_NOT_PASSED, NO_FD_LANE } from "./queue-outcomes.ts";

/** The header word of a message whose fds wait on the lane. */
export function laneKind(kind: number): number {
  return (kind | (FLAG_FDS_ON_LANE << 8)) >>> 0;
}

/**
 * The header word of a message whose files are kept back: only a body counts, the flag set.
 * @param reason a value of WITHHELD_REASON
 */
export function withheldKind(kind: number, reason: number): number {
  const bodyFdCount = isLarge(kind) ? 1 : 0;
  const flagged = (kind & 0xffff) | (FLAG_FDS_WITHHELD << 8);
  return (flagged | (bodyFdCount << 16) | (reason << 24)) >>> 0;
}

/** Whether a frame is a message, whose loss a gap tells; of all others it is told otherwise. */
export function isMessage(kind: number): boolean {
  return opcodeOf(kind) === OPCODE.MESSAGE;
}

/** Whether a frame is a message that a client has published since its receiver subscribed. */
export function isPublished(words: Uint32Array, offset: number): boolean {
  const word = offset >>> 2;
  const kind = words[word + FRAME_KIND_WORD] ?? 0;
  return (
    isMessage(kind) &&
    (flagsOf(kind) & FLAG_RETAINED) === 0 &&
    words[word + FRAME_ORIGIN_WORD] !== 0
  );
}

/** Whether a frame is nothing without its fds: a large one, or a channel. */
export function needsFds(kind: number): boolean {
  return isLarge(kind) || opcodeOf(kind) === OPCODE.CHANNEL;
}

/** Bytes of the large body that a message has behind an fd; 0 where its frame has the body. */
export function memoryBytesOf({ words }: PinnedBuffer, offset: number): number {
  const kind = words[(offset >>> 2) + FRAME_KIND_WORD] ?? 0;
  return isLarge(kind) ? largeBodyBytes(words, offset) : 0;
}

/**
 * Puts the word that messages are lost into CONTROL_FRAME_BUFFER.
 * @param reason a value of GAP_REASON
 * @returns bytes of the frame
 */
export function encodeGap(topicId: number, count: number, reason: number): number {
  return encodeControlFrame({ opcode: OPCODE.GAP, id: topicId, body: gapBody({ count, reason }) });
}

/** Why a frame does not get its fds: in its own flags, and in the gap where nothing is left of it. */
export interface FdLoss {
  readonly withheld: number;
  readonly gap: number;
  /** What is told of a frame that is neither marked nor counted in a gap. */
  readonly outcome: typeof FDS_NOT_PASSED | typeof NO_FD_LANE;
}

/** The kernel did not pass them on. */
export const KERNEL_REFUSED: FdLoss = {
  withheld: WITHHELD_REASON.KERNEL,
  gap: GAP_REASON.BODY_REFUSED,
  outcome: FDS_NOT_PASSED,
};

/** Their receiver has closed its fd lane. */
export const LANE_GONE: FdLoss = { ...KERNEL_REFUSED, outcome: NO_FD_LANE };

/** Their receiver did not take them, or earlier ones, in time. */
export const NOT_TAKEN: FdLoss = {
  withheld: WITHHELD_REASON.EXPIRED,
  gap: GAP_REASON.BODY_EXPIRED,
  outcome: FDS_NOT_PASSED,
};

/**
 * A frame that waits in a packet of its own has lost its fds: it says so, or where it needed them, a
 * gap stands for a message, and nothing for any other frame.
 * @param packet its bytes and memoryBytes are what is left afterwards
 * @returns false where nothing is left
 */
export function markFdsLost(packet: QueuedPacket, loss: FdLoss): boolean {
  const { words } = packet.buffer;
  const kind = words[FRAME_KIND_WORD] ?? 0;
  if (!needsFds(kind)) {
    words[FRAME_KIND_WORD] = withheldKind(kind, loss.withheld);
    return true;
  }
  packet.memoryBytes = 0;
  packet.bytes = 0;
  if (!isMessage(kind)) return false;
  packet.bytes = encodeGap(words[FRAME_ID_WORD] ?? 0, 1, loss.gap);
  packet.buffer = new PinnedBuffer(packet.bytes);
  copyPinned(CONTROL_FRAME_BUFFER, 0, packet.buffer, 0, packet.bytes);
  return true;
}
