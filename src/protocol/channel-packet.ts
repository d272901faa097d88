/**
 * What may stand in a packet of a private channel (docs/protocol.md section 10): messages and
 * nothing else. Nobody has looked at it before, so all of it is checked here, as a broker would.
 */

import { ProtocolError, type ProtocolErrorCode } from "../errors.ts";
import {
  detailOf,
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_ORIGIN_WORD,
  fdCountOf,
  flagsOf,
  opcodeOf,
  paddedBytes,
} from "./frame.ts";
import {
  FRAME_ALIGNMENT_BYTES,
  FRAME_HEADER_BYTES,
  LARGE_SIZE_BYTES,
  MESSAGE_FDS_MAX,
  PACKET_BYTES_MAX,
} from "./limits.ts";
import { FLAG_FDS_ON_LANE, FLAG_LARGE, FLAGS_ENCODING_MASK, OPCODE } from "./opcodes.ts";

const FLAGS_ALLOWED = FLAGS_ENCODING_MASK | FLAG_LARGE | FLAG_FDS_ON_LANE;

/**
 * Checks one whole packet.
 * @param words the packet as words; borrowed for the call
 * @param packetBytes what the kernel delivered, 0 and more
 * @throws {ProtocolError} PROTOCOL_PACKET_SIZE, PROTOCOL_FRAME_LENGTH, PROTOCOL_OPCODE,
 *   PROTOCOL_FLAGS, PROTOCOL_FD_COUNT, PROTOCOL_TOPIC_ID (an id) or PROTOCOL_STATE (an origin), with
 *   the byte offset of the frame
 */
export function checkChannelPacket(words: Uint32Array, packetBytes: number): void {
  const isTooSmall = packetBytes < FRAME_HEADER_BYTES;
  if (isTooSmall || packetBytes > PACKET_BYTES_MAX || packetBytes % FRAME_ALIGNMENT_BYTES !== 0) {
    const message = `Cannot read packet of a channel: it has ${packetBytes} bytes`;
    throw new ProtocolError("PROTOCOL_PACKET_SIZE", message, 0);
  }
  for (let at = 0; at < packetBytes; ) {
    const frameBytes = words[at >>> 2] ?? 0;
    const code = frameBytes > packetBytes - at ? "PROTOCOL_FRAME_LENGTH" : frameError(words, at);
    if (code !== 0) {
      const message = `Cannot read frame at byte ${at} of a channel: ${code}`;
      throw new ProtocolError(code, message, at);
    }
    at += paddedBytes(frameBytes);
  }
}

function frameError(words: Uint32Array, at: number): ProtocolErrorCode | 0 {
  const word = at >>> 2;
  const frameBytes = words[word] ?? 0;
  const kind = words[word + FRAME_KIND_WORD] ?? 0;
  if (frameBytes < FRAME_HEADER_BYTES) return "PROTOCOL_FRAME_LENGTH";
  if (opcodeOf(kind) !== OPCODE.MESSAGE) return "PROTOCOL_OPCODE";
  if ((flagsOf(kind) & ~FLAGS_ALLOWED) !== 0 || detailOf(kind) !== 0) return "PROTOCOL_FLAGS";
  if ((words[word + FRAME_ID_WORD] ?? 0) !== 0) return "PROTOCOL_TOPIC_ID";
  if ((words[word + FRAME_ORIGIN_WORD] ?? 0) !== 0) return "PROTOCOL_STATE";
  return fdError(kind) || largeError(kind, frameBytes);
}

/** All fds are on the lane. */
function fdError(kind: number): ProtocolErrorCode | 0 {
  const onLane = (flagsOf(kind) & FLAG_FDS_ON_LANE) !== 0;
  const count = fdCountOf(kind);
  return count > MESSAGE_FDS_MAX || count > 0 !== onLane ? "PROTOCOL_FD_COUNT" : 0;
}

function largeError(kind: number, frameBytes: number): ProtocolErrorCode | 0 {
  if ((flagsOf(kind) & FLAG_LARGE) === 0) return 0;
  if (fdCountOf(kind) === 0) return "PROTOCOL_FD_COUNT";
  return frameBytes === FRAME_HEADER_BYTES + LARGE_SIZE_BYTES ? 0 : "PROTOCOL_FRAME_LENGTH";
}
