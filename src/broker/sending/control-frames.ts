/**
 * Encodes control frames into pinned memory, one at a time. The result is valid until the next
 * call, so it must be handed to a send queue at once.
 */

import { assert } from "../../assert.ts";
import { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { ControlMap } from "../../protocol/control-body.ts";
import { PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import { PacketWriter } from "../../protocol/packet.ts";

const BUFFER = new PinnedBuffer(PACKET_BYTES_MAX);
const WRITER = new PacketWriter(BUFFER.bytes.buffer as ArrayBuffer);

/** Where encodeControlFrame() leaves its frame, from offset 0. */
export const CONTROL_FRAME_BUFFER: PinnedBuffer = BUFFER;

/**
 * Encodes one control frame with padding at the start of CONTROL_FRAME_BUFFER.
 * @param fields opcode and flags as in docs/protocol.md; id as the opcode says; body may be absent
 * @returns its length in bytes, a multiple of 8
 */
export function encodeControlFrame(fields: {
  opcode: number;
  flags?: number;
  fdCount?: number;
  id: number;
  body?: ControlMap | undefined;
}): number {
  WRITER.reset();
  const fits = WRITER.appendControl(fields.opcode, fields.flags ?? 0, fields.id, fields.body);
  assert(fits, "a control frame of the broker fits one packet");
  if (fields.fdCount !== undefined) {
    new DataView(BUFFER.bytes.buffer).setUint16(6, fields.fdCount, true);
  }
  return WRITER.packetBytes;
}
