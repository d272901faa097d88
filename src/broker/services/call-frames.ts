/**
 * The frames of calls as they come from clients: what is looked at before anything of a packet takes
 * effect, and how a frame that breaks the protocol is named. Pure; what a frame means is calls.ts's.
 */

import { ProtocolError } from "../../errors.ts";
import { FRAME_ID_WORD, FRAME_KIND_WORD, kindWord, paddedBytes } from "../../protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import {
  FLAG_FAILED,
  FLAG_MORE,
  FLAG_STREAM,
  FLAGS_ENCODING_MASK,
  OPCODE,
} from "../../protocol/opcodes.ts";
import type { ConnectionServices } from "./connection-services.ts";

/** Word of a REQUEST that holds the call, counted from the first word of the frame. */
export const CALL_WORD = FRAME_HEADER_BYTES / 4;

/** A kind word without these bits is one of the two below, for frames without fds. */
const REQUEST_MASK = ~((FLAGS_ENCODING_MASK | FLAG_STREAM) << 8);
const REPLY_MASK = ~((FLAGS_ENCODING_MASK | FLAG_MORE | FLAG_FAILED) << 8);
const PLAIN_REQUEST = kindWord(OPCODE.REQUEST, 0, 0);
const PLAIN_REPLY = kindWord(OPCODE.REPLY, 0, 0);

/** Whether a packet is nothing but good requests and replies without fds. */
export function isPlainCalls(
  services: ConnectionServices,
  words: Uint32Array,
  packetBytes: number,
): boolean {
  for (let at = 0; at < packetBytes; ) {
    const word = at >>> 2;
    const frameBytes = words[word] as number;
    const kind = words[word + FRAME_KIND_WORD] as number;
    const id = words[word + FRAME_ID_WORD] as number;
    if (frameBytes < FRAME_HEADER_BYTES || frameBytes > packetBytes - at) return false;
    if ((kind & REQUEST_MASK) === PLAIN_REQUEST) {
      if (frameBytes < FRAME_HEADER_BYTES + BODY_PREFIX_BYTES) return false;
      if (callAt(words, at) === 0 || !services.open.has(id)) return false;
    } else if ((kind & REPLY_MASK) !== PLAIN_REPLY || !services.wasRequested(id)) return false;
    at += paddedBytes(frameBytes);
  }
  return true;
}

/** The number that the caller gave a REQUEST. @param offset of the frame, in bytes */
export function callAt(words: Uint32Array, offset: number): number {
  return words[(offset >>> 2) + CALL_WORD] as number;
}

/** A frame is about a service that its sender has not open. */
export function notOpen(offset: number): ProtocolError {
  const message = `Cannot use service at byte ${offset}: its id is not open on this connection`;
  return new ProtocolError("PROTOCOL_TOPIC_ID", message, offset);
}

/** A frame is about a call that cannot be. @param why the end of a sentence */
export function badCall(offset: number, why: string): ProtocolError {
  const message = `Cannot take call at byte ${offset}: ${why}`;
  return new ProtocolError("PROTOCOL_REQUEST_ID", message, offset);
}
