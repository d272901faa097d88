/**
 * Packets: the rules for what may stand in one, a reader that checks a whole packet before anything
 * in it takes effect, and a writer. No body is decoded here, and no socket is touched.
 *
 * Broker and client walk plain messages in loops of their own. Whatever is not plain comes here or
 * to the predicates, so that the rules stand in one place.
 */

import { assert } from "../assert.ts";
import { ProtocolError, type ProtocolErrorCode } from "../errors.ts";
import { type ControlMap, encodeControlBody } from "./control-body.ts";
import {
  detailOf,
  FRAME_FD_COUNT_OFFSET,
  FRAME_FLAGS_OFFSET,
  FRAME_KIND_WORD,
  FRAME_OPCODE_OFFSET,
  fdCountOf,
  flagsOf,
  kindWord,
  opcodeOf,
  paddedBytes,
  writeFrameHeader,
} from "./frame.ts";
import {
  CHANNEL_FDS,
  FRAME_ALIGNMENT_BYTES,
  FRAME_HEADER_BYTES,
  LARGE_SIZE_BYTES,
  PACKET_BYTES_MAX,
  PACKET_FRAMES_MAX,
} from "./limits.ts";
import {
  BROKER_FRAME_RULES,
  CLIENT_FRAME_RULES,
  carriesBody,
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_LARGE,
  type FrameRule,
  OPCODE,
  prefixBytesOf,
} from "./opcodes.ts";

/** Which side wrote a packet. */
export type PacketSide = "client" | "broker";

/**
 * Checks what one frame header from a client says by itself.
 * @param kind the header word at byte 4
 * @param frameBytes the header word at byte 0; that it ends inside its packet is for the caller
 * @returns 0 where the frame is fine, else PROTOCOL_OPCODE, PROTOCOL_FLAGS, PROTOCOL_FD_COUNT,
 *   PROTOCOL_FRAME_LENGTH (shorter than a header) or PROTOCOL_CONTROL_BODY (body too long)
 */
export function clientFrameError(kind: number, frameBytes: number): ProtocolErrorCode | 0 {
  return (
    kindError(CLIENT_RULES, kind) ||
    lengthError(CLIENT_RULES, kind, frameBytes) ||
    bodyError(kind, frameBytes) ||
    (detailOf(kind) === 0 ? 0 : "PROTOCOL_FLAGS")
  );
}

/**
 * Checks what one frame header from the broker says by itself.
 * @param kind the header word at byte 4
 * @param frameBytes the header word at byte 0; that it ends inside its packet is for the caller
 * @returns as clientFrameError()
 */
export function brokerFrameError(kind: number, frameBytes: number): ProtocolErrorCode | 0 {
  const code =
    kindError(BROKER_RULES, kind) ||
    lengthError(BROKER_RULES, kind, frameBytes) ||
    bodyError(kind, frameBytes);
  if (code !== 0) return code;
  const onLane = (flagsOf(kind) & FLAG_FDS_ON_LANE) !== 0;
  const withheld = carriesBody(opcodeOf(kind)) && (flagsOf(kind) & FLAG_FDS_WITHHELD) !== 0;
  if (onLane && fdCountOf(kind) === 0) return "PROTOCOL_FD_COUNT";
  if (withheld !== detailOf(kind) > 0) return "PROTOCOL_FLAGS";
  if (opcodeOf(kind) === OPCODE.CHANNEL && fdCountOf(kind) !== CHANNEL_FDS) {
    return "PROTOCOL_FD_COUNT";
  }
  // A body behind an fd is no file of the sender's, so it is never withheld.
  const bodyFds = isLarge(kind) ? 1 : 0;
  return withheld && fdCountOf(kind) !== bodyFds ? "PROTOCOL_FD_COUNT" : 0;
}

/** Whether this frame's body is the memory behind its first fd. */
export function isLarge(kind: number): boolean {
  return (flagsOf(kind) & FLAG_LARGE) !== 0 && carriesBody(opcodeOf(kind));
}

/**
 * The length that the frame of a large message names.
 * @param words the packet as words; borrowed
 * @param offset byte offset of the frame
 * @returns 0 and more; where it is beyond 2^53, a number that is still beyond every limit
 */
export function largeBodyBytes(words: Uint32Array, offset: number): number {
  const prefixBytes = prefixBytesOf(opcodeOf(words[(offset >>> 2) + FRAME_KIND_WORD] ?? 0));
  const word = (offset + FRAME_HEADER_BYTES + prefixBytes) >>> 2;
  return (words[word] ?? 0) + (words[word + 1] ?? 0) * 0x1_0000_0000;
}

/**
 * Checks packets and finds their frames. Reusable: one instance serves any number of packets and
 * allocates nothing for a packet that is fine.
 */
export class PacketReader {
  /** Byte offsets of the frames of the last packet; valid up to frameCount. */
  readonly offsets = new Int32Array(PACKET_FRAMES_MAX);
  /** Frames of the last packet; 0 after a packet that was refused. */
  frameCount = 0;

  /**
   * Checks one whole packet.
   * @param words the receive buffer as words; borrowed for the call
   * @param bytes the same memory as bytes; borrowed for the call
   * @param packetBytes what the kernel delivered, 0 and more; nothing behind it is read
   * @param receivedFds fds that came with the packet; they stay the caller's
   * @param from the side that wrote the packet
   * @returns the number of frames, at least 1
   * @throws {ProtocolError} PROTOCOL_PACKET_SIZE, PROTOCOL_FRAME_LENGTH, PROTOCOL_OPCODE,
   *   PROTOCOL_FLAGS, PROTOCOL_FD_COUNT or PROTOCOL_CONTROL_BODY, with the byte offset
   */
  read(
    words: Uint32Array,
    bytes: Uint8Array,
    packetBytes: number,
    receivedFds: number,
    from: PacketSide,
  ): number {
    this.frameCount = 0;
    if (!packetBytesAllowed(packetBytes)) throw packetSizeError(packetBytes);
    assert(packetBytes <= bytes.byteLength, "the packet lies inside the byte view");
    assert(packetBytes <= words.byteLength, "the packet lies inside the word view");
    let count = 0;
    let inBandFds = 0;
    for (let at = 0; at < packetBytes; ) {
      // Eight bytes may be left where a header needs sixteen; only the first two words are read.
      const frameBytes = words[at >>> 2] ?? 0;
      const kind = words[(at >>> 2) + FRAME_KIND_WORD] ?? 0;
      if (frameBytes > packetBytes - at) {
        throw frameError("PROTOCOL_FRAME_LENGTH", words, at, from);
      }
      const code =
        from === "client" ? clientFrameError(kind, frameBytes) : brokerFrameError(kind, frameBytes);
      if (code !== 0) throw frameError(code, words, at, from);
      if ((flagsOf(kind) & FLAG_FDS_ON_LANE) === 0) inBandFds += fdCountOf(kind);
      this.offsets[count] = at;
      count += 1;
      at += paddedBytes(frameBytes);
    }
    if (inBandFds !== receivedFds) throw fdCountError(inBandFds, receivedFds);
    if (inBandFds > 0 && count > 1) throw sharedPacketError();
    this.frameCount = count;
    return count;
  }
}

/**
 * Builds packets frame by frame. For the cold path and for tests: it checks that a frame fits and
 * nothing else, so broken packets can be built too.
 */
export class PacketWriter {
  /** The packet; packetBytes of it are written. Owned by the writer, overwritten after reset(). */
  readonly bytes: Uint8Array;
  /** The same memory as words. */
  readonly words: Uint32Array;
  /** Bytes written so far, padding included. */
  packetBytes = 0;
  readonly #capacity: number;

  /**
   * @param memory bytes to allocate, or the memory to write to, which is borrowed for the writer's
   *   life; a multiple of 8 bytes. No more than PACKET_BYTES_MAX of it is used
   */
  constructor(memory: number | ArrayBuffer = PACKET_BYTES_MAX) {
    const buffer = typeof memory === "number" ? new ArrayBuffer(memory) : memory;
    assert(buffer.byteLength % FRAME_ALIGNMENT_BYTES === 0, "a packet buffer holds whole words");
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.#capacity = Math.min(buffer.byteLength, PACKET_BYTES_MAX);
  }

  /**
   * Appends a frame.
   * @param fdCount what the header says; the fds themselves are the caller's business
   * @param body copied; undefined for an empty one
   * @returns false where it does not fit, and then nothing of the packet has changed
   */
  append(
    opcode: number,
    flags: number,
    fdCount: number,
    id: number,
    origin: number,
    body: Uint8Array | undefined,
  ): boolean {
    const frameBytes = FRAME_HEADER_BYTES + (body?.byteLength ?? 0);
    if (frameBytes > this.#capacity - this.packetBytes) return false;
    if (body !== undefined) this.bytes.set(body, this.packetBytes + FRAME_HEADER_BYTES);
    this.#finish(frameBytes, kindWord(opcode, flags, fdCount), id, origin);
    return true;
  }

  /**
   * Appends a control frame.
   * @param map the body; undefined for an empty one
   * @param fdCount as in append()
   * @returns false where it does not fit, and then nothing of the packet has changed
   */
  appendControl(
    opcode: number,
    flags: number,
    id: number,
    map: ControlMap | undefined,
    fdCount = 0,
  ): boolean {
    const start = this.packetBytes + FRAME_HEADER_BYTES;
    const frameBytes =
      FRAME_HEADER_BYTES + (map === undefined ? 0 : encodeControlBody(map, this.bytes, start));
    if (frameBytes > this.#capacity - this.packetBytes) return false;
    this.#finish(frameBytes, kindWord(opcode, flags, fdCount), id, 0);
    return true;
  }

  /** Starts the next packet in the same memory. */
  reset(): void {
    this.packetBytes = 0;
  }

  #finish(frameBytes: number, kind: number, id: number, origin: number): void {
    const end = this.packetBytes + frameBytes;
    writeFrameHeader(this.words, this.packetBytes >>> 2, frameBytes, kind, id, origin);
    this.packetBytes += paddedBytes(frameBytes);
    this.bytes.fill(0, end, this.packetBytes);
  }
}

/** The rules of one side, by opcode. */
interface RuleTable {
  /** Allowed flag bits; -1 for an opcode that this side may not send. */
  readonly flags: Int16Array;
  readonly fdCountMax: Uint8Array;
  readonly bodyBytesMax: Uint32Array;
}

const CLIENT_RULES = buildRuleTable(CLIENT_FRAME_RULES);
const BROKER_RULES = buildRuleTable(BROKER_FRAME_RULES);

function buildRuleTable(rules: readonly FrameRule[]): RuleTable {
  const table = {
    flags: new Int16Array(256).fill(-1),
    fdCountMax: new Uint8Array(256),
    bodyBytesMax: new Uint32Array(256),
  };
  for (const rule of rules) {
    table.flags[rule.opcode] = rule.flags;
    table.fdCountMax[rule.opcode] = rule.fdCountMax;
    table.bodyBytesMax[rule.opcode] = rule.bodyBytesMax;
  }
  return table;
}

function kindError(table: RuleTable, kind: number): ProtocolErrorCode | 0 {
  const opcode = opcodeOf(kind);
  const flags = table.flags[opcode] ?? -1;
  if (flags < 0) return "PROTOCOL_OPCODE";
  if ((flagsOf(kind) & ~flags) !== 0) return "PROTOCOL_FLAGS";
  if (fdCountOf(kind) > (table.fdCountMax[opcode] ?? 0)) return "PROTOCOL_FD_COUNT";
  return 0;
}

function lengthError(table: RuleTable, kind: number, frameBytes: number): ProtocolErrorCode | 0 {
  if (frameBytes < FRAME_HEADER_BYTES) return "PROTOCOL_FRAME_LENGTH";
  const bodyBytesMax = table.bodyBytesMax[opcodeOf(kind)] ?? 0;
  return frameBytes - FRAME_HEADER_BYTES > bodyBytesMax ? "PROTOCOL_CONTROL_BODY" : 0;
}

function bodyError(kind: number, frameBytes: number): ProtocolErrorCode | 0 {
  const bytesMin = FRAME_HEADER_BYTES + prefixBytesOf(opcodeOf(kind));
  if (!isLarge(kind)) return frameBytes < bytesMin ? "PROTOCOL_FRAME_LENGTH" : 0;
  if (fdCountOf(kind) === 0) return "PROTOCOL_FD_COUNT";
  return frameBytes === bytesMin + LARGE_SIZE_BYTES ? 0 : "PROTOCOL_FRAME_LENGTH";
}

function packetBytesAllowed(packetBytes: number): boolean {
  if (packetBytes < FRAME_HEADER_BYTES || packetBytes > PACKET_BYTES_MAX) return false;
  return packetBytes % FRAME_ALIGNMENT_BYTES === 0;
}

function packetSizeError(packetBytes: number): ProtocolError {
  const wanted = `${FRAME_HEADER_BYTES} to ${PACKET_BYTES_MAX}, a multiple of 8`;
  const message = `Cannot read packet: it has ${packetBytes} bytes, wanted are ${wanted}`;
  return new ProtocolError("PROTOCOL_PACKET_SIZE", message, 0);
}

/** Where in the header the field stands that a code complains about. */
const FIELD_OFFSETS: { readonly [Code in ProtocolErrorCode]?: number } = {
  PROTOCOL_OPCODE: FRAME_OPCODE_OFFSET,
  PROTOCOL_FLAGS: FRAME_FLAGS_OFFSET,
  PROTOCOL_FD_COUNT: FRAME_FD_COUNT_OFFSET,
};

function frameError(
  code: ProtocolErrorCode,
  words: Uint32Array,
  at: number,
  from: PacketSide,
): ProtocolError {
  const frameBytes = words[at >>> 2] ?? 0;
  const kind = words[(at >>> 2) + FRAME_KIND_WORD] ?? 0;
  const header = [
    `length ${frameBytes}`,
    `opcode 0x${opcodeOf(kind).toString(16)}`,
    `flags 0x${flagsOf(kind).toString(16)}`,
    `fd count ${fdCountOf(kind)}`,
  ].join(", ");
  const message = `Cannot read frame at byte ${at} from ${from}: ${code} (${header})`;
  return new ProtocolError(code, message, at + (FIELD_OFFSETS[code] ?? 0));
}

function fdCountError(inBandFds: number, receivedFds: number): ProtocolError {
  const message = `Cannot read packet: frames name ${inBandFds} fds, the kernel delivered ${receivedFds}`;
  return new ProtocolError("PROTOCOL_FD_COUNT", message, FRAME_FD_COUNT_OFFSET);
}

function sharedPacketError(): ProtocolError {
  const message = "Cannot read packet: a frame with fds shares it with other frames";
  return new ProtocolError("PROTOCOL_FD_COUNT", message, FRAME_FD_COUNT_OFFSET);
}
