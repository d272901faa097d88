/** The packets of a call, built before it. */

import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { paddedBytes } from "../../src/protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../src/protocol/packet.ts";

/** The word of a reply that names the call. */
export const REPLY_CALL_WORD = 2;

/** The word of a REQUEST that names it: the first of its body. */
export const REQUEST_CALL_WORD = FRAME_HEADER_BYTES / 4;

/** A packet with one REQUEST that waits for ever, and whose call is yet to be filled in. */
export function buildRequest(serviceId: number, bodyBytes: number): PinnedBuffer {
  return buildPacket(OPCODE.REQUEST, serviceId, new Uint8Array(BODY_PREFIX_BYTES + bodyBytes));
}

/** A packet with one REPLY, whose call is yet to be filled in. */
export function buildReply(bodyBytes: number): PinnedBuffer {
  return buildPacket(OPCODE.REPLY, 0, new Uint8Array(bodyBytes));
}

function buildPacket(opcode: number, id: number, body: Uint8Array): PinnedBuffer {
  const buffer = new PinnedBuffer(paddedBytes(FRAME_HEADER_BYTES + body.byteLength));
  new PacketWriter(buffer.bytes.buffer).append(opcode, 0, 0, id, 0, body);
  return buffer;
}
