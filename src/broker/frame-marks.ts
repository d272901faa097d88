/**
 * What a send queue says in the header of a message about the fds that it came with, as kind words
 * (frame.ts). Pure; the rest of the header is the router's.
 */

import type { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { gapBody } from "../protocol/control-messages.ts";
import { FRAME_KIND_WORD } from "../protocol/frame.ts";
import { FLAG_FDS_ON_LANE, FLAG_FDS_WITHHELD, OPCODE } from "../protocol/opcodes.ts";
import { isLarge, largeBodyBytes } from "../protocol/packet.ts";
import { encodeControlFrame } from "./control-frames.ts";

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

/** Bytes of the large body that a message has behind an fd; 0 where its frame has the body. */
export function memoryBytesOf({ words }: PinnedBuffer, offset: number): number {
  const kind = words[(offset >>> 2) + FRAME_KIND_WORD] ?? 0;
  return isLarge(kind) ? largeBodyBytes(words, offset) : 0;
}

/**
 * Puts the word that one large message is lost into CONTROL_FRAME_BUFFER, for want of its body.
 * @param reason a value of GAP_REASON
 * @returns bytes of the frame
 */
export function encodeLostBody(topicId: number, reason: number): number {
  const body = gapBody({ count: 1, reason });
  return encodeControlFrame({ opcode: OPCODE.GAP, id: topicId, body });
}
