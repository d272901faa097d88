/**
 * The messages of a benchmark and the check on them. Messages carry a number that counts up to
 * ringMessages() and starts again, so packets can be built once and sent over and over, and a
 * subscriber still sees every loss, repeat and change of order. Touches no socket.
 *
 *   body   [u32 number][u32 source][filler … to messageBytes]
 *   end    [u32 number of messages sent in all, modulo 2^32][u32 source]      told apart by its length
 */

import { PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import { kindWord, opcodeOf, paddedBytes } from "../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../src/protocol/limits.ts";
import { OPCODE } from "../src/protocol/opcodes.ts";
import { PacketWriter } from "../src/protocol/packet.ts";

/** Packets that are built; then the first is sent again. */
export const RING_PACKETS = 16;

/** Bytes of the body that ends a run. */
export const END_BODY_BYTES = 8;

/** What a body is made of behind its front. */
export const FILLER_BYTE = 0x5a;

/** Messages of one size that fit a packet. */
export function messagesPerPacket(messageBytes: number, packetBytes: number): number {
  return Math.max(1, Math.floor(packetBytes / paddedBytes(FRAME_HEADER_BYTES + messageBytes)));
}

/** The number after which numbering starts again. */
export function ringMessages(messageBytes: number, packetBytes: number): number {
  return RING_PACKETS * messagesPerPacket(messageBytes, packetBytes);
}

/** One prebuilt packet. */
export interface PrebuiltPacket {
  readonly buffer: PinnedBuffer;
  readonly bytes: number;
}

/**
 * Builds the packets of one round.
 * @param topicIds used one after the other, message by message
 * @param options fds: how many come with each message; then a packet must hold one message alone.
 *   source: which publisher this is
 */
export function buildRing(
  topicIds: readonly number[],
  messageBytes: number,
  packetBytes: number,
  { fds = 0, source = 0 }: { fds?: number; source?: number } = {},
): PrebuiltPacket[] {
  const perPacket = messagesPerPacket(messageBytes, packetBytes);
  const body = new Uint8Array(messageBytes).fill(FILLER_BYTE);
  const numberView = new DataView(body.buffer);
  if (messageBytes >= END_BODY_BYTES) numberView.setUint32(4, source, true);
  const frameBytes = paddedBytes(FRAME_HEADER_BYTES + messageBytes);
  let number = 0;
  return Array.from({ length: RING_PACKETS }, () => {
    const buffer = new PinnedBuffer(perPacket * frameBytes);
    const writer = new PacketWriter(buffer.bytes.buffer);
    for (let index = 0; index < perPacket; index += 1) {
      numberView.setUint32(0, number, true);
      writer.append(OPCODE.MESSAGE, 0, fds, topicIds[number % topicIds.length] ?? 0, 0, body);
      number += 1;
    }
    return { buffer, bytes: writer.packetBytes };
  });
}

/** The packet that tells subscribers how many messages there were. */
export function buildEnd(topicId: number, messages: number, source = 0): PrebuiltPacket {
  const buffer = new PinnedBuffer(paddedBytes(FRAME_HEADER_BYTES + END_BODY_BYTES));
  buffer.words.set([FRAME_HEADER_BYTES + END_BODY_BYTES, kindWord(OPCODE.MESSAGE, 0, 0), topicId]);
  buffer.words[FRAME_HEADER_BYTES / 4] = messages;
  buffer.words[FRAME_HEADER_BYTES / 4 + 1] = source;
  return { buffer, bytes: buffer.byteLength };
}

/** Checks order, length and loss of what one subscriber gets. */
export class MessageCheck {
  readonly #messageBytes: number;
  readonly #ring: number;
  #expected = 0;
  /** Messages so far. */
  messages = 0;
  /** The end has come, and the number of messages was right. */
  isEnded = false;

  /** @param ring what ringMessages() says for the publisher's packets */
  constructor(messageBytes: number, ring: number) {
    this.#messageBytes = messageBytes;
    this.#ring = ring;
  }

  /**
   * Walks one packet from the relay, from offset 0.
   * @throws {Error} where a message is lost, repeated, out of order or of the wrong length
   */
  takePacket(words: Uint32Array, packetBytes: number): void {
    for (let at = 0; at < packetBytes; ) {
      const word = at >>> 2;
      const frameBytes = words[word] as number;
      const opcode = opcodeOf(words[word + 1] as number);
      if (opcode === OPCODE.MESSAGE) {
        this.take(words[word + 4] as number, frameBytes - FRAME_HEADER_BYTES);
      } else if (opcode === OPCODE.GAP || opcode === OPCODE.ERROR) {
        throw new Error(`The relay sent opcode ${opcode} after ${this.messages} messages`);
      }
      at += paddedBytes(frameBytes);
    }
  }

  /**
   * Takes one message.
   * @param number the first four bytes of its body
   * @param bodyBytes its length
   * @param _source the next four, which matter where there are several publishers
   * @throws {Error} as takePacket()
   */
  take(number: number, bodyBytes: number, _source = 0): void {
    if (bodyBytes === END_BODY_BYTES) return this.#end(number);
    if (number !== this.#expected || bodyBytes !== this.#messageBytes) {
      throw new Error(`Got message ${number}, ${bodyBytes} bytes, wanted ${this.#expected}`);
    }
    this.messages += 1;
    this.#expected = number + 1 === this.#ring ? 0 : number + 1;
  }

  #end(messages: number): void {
    if (messages !== this.messages >>> 0) {
      throw new Error(`Got ${this.messages} of ${messages} messages`);
    }
    this.isEnded = true;
  }
}
