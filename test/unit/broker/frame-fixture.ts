/** Frames for tests of the broker: built into pinned memory, and read back from sent records. */

import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { decodeGapBody } from "../../../src/protocol/control-messages.ts";
import { fdCountOf, flagsOf, opcodeOf } from "../../../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES, LARGE_SIZE_BYTES } from "../../../src/protocol/limits.ts";
import { FLAG_LARGE, OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketReader, PacketWriter } from "../../../src/protocol/packet.ts";

/** A message to be built. */
export interface MessageFields {
  readonly topic: number;
  /** Stands in the first four bytes of the body. */
  readonly number: number;
  /** 4 or more. */
  readonly bodyBytes: number;
  readonly fdCount?: number;
}

/** A frame of a record that was sent. */
export interface SentFrame {
  readonly opcode: number;
  readonly flags: number;
  readonly fdCount: number;
  readonly id: number;
  readonly origin: number;
  readonly body: Uint8Array;
}

/** Packets in pinned memory, valid until the next call. */
export class FrameBuffer {
  readonly buffer = new PinnedBuffer(65_536);
  readonly #writer = new PacketWriter(this.buffer.bytes.buffer);

  /** @returns bytes from offset 0 */
  messages(messages: readonly MessageFields[]): number {
    this.#writer.reset();
    for (const { topic, number, bodyBytes, fdCount = 0 } of messages) {
      const body = new Uint8Array(bodyBytes);
      new DataView(body.buffer).setUint32(0, number, true);
      const fits = this.#writer.append(OPCODE.MESSAGE, 0, fdCount, topic, 0, body);
      if (!fits) throw new Error("The messages do not fit one packet");
    }
    return this.#writer.packetBytes;
  }

  /** A large message. @param fdCount its body's fd included. @returns bytes from offset 0 */
  large(topic: number, bodyBytes: number, fdCount: number): number {
    this.#writer.reset();
    const size = new Uint8Array(LARGE_SIZE_BYTES);
    new DataView(size.buffer).setBigUint64(0, BigInt(bodyBytes), true);
    this.#writer.append(OPCODE.MESSAGE, FLAG_LARGE, fdCount, topic, 0, size);
    return this.#writer.packetBytes;
  }

  /** A control frame with an empty body. @returns bytes from offset 0 */
  control(opcode: number, id: number): number {
    this.#writer.reset();
    this.#writer.appendControl(opcode, 0, id, undefined);
    return this.#writer.packetBytes;
  }
}

const READER = new PacketReader();

/** The frames of a record, which must be well-formed. */
export function framesOf(record: { bytes: Uint8Array; fds: readonly number[] }): SentFrame[] {
  const bytes = record.bytes.slice();
  const words = new Uint32Array(bytes.buffer);
  const count = READER.read(words, bytes, bytes.byteLength, record.fds.length, "broker");
  return Array.from(READER.offsets.subarray(0, count), (offset) => {
    const word = offset >>> 2;
    const kind = words[word + 1] ?? 0;
    return {
      opcode: opcodeOf(kind),
      flags: flagsOf(kind),
      fdCount: fdCountOf(kind),
      id: words[word + 2] ?? 0,
      origin: words[word + 3] ?? 0,
      body: bytes.slice(offset + FRAME_HEADER_BYTES, offset + (words[word] ?? 0)),
    };
  });
}

/** The number that a message of FrameBuffer bears. */
export function numberOf(frame: SentFrame): number {
  return new DataView(frame.body.buffer).getUint32(0, true);
}

/** How many messages a GAP frame counts. */
export function gapCountOf(frame: SentFrame): number {
  return decodeGapBody(frame.body, 0, frame.body.byteLength).count;
}
