/** The packets of a call, built before it. */

import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { paddedBytes } from "../../src/protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../src/protocol/packet.ts";

/** The word of a reply that names the call; it stands first in a REQUEST's body. */
export const REPLY_CALL_WORD = 2;

/** A packet with one REQUEST that waits for ever. */
export function buildRequest(serviceId: number, call: number, bodyBytes: number): PinnedBuffer {
  const body = new Uint8Array(BODY_PREFIX_BYTES + bodyBytes);
  new DataView(body.buffer).setUint32(0, call, true);
  return buildPacket(OPCODE.REQUEST, serviceId, body);
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
