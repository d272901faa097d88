/**
 * What waits in one subscription, in messages and in bytes, against its limits. Sums only: which
 * messages these are is message-queue.ts's.
 *
 *   0 ────────── half ────────── limit ────────── ceiling
 *      isLow                      isFull           isOver: answers are awaited, and it went on
 */

import { FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import { BEYOND_FULL_BYTES, BEYOND_FULL_MEMORY_BYTES } from "./limits.ts";
import type { Message } from "./message.ts";

/** How much may wait. */
export interface QueueLimits {
  readonly messagesMax: number;
  /** Of bodies, large ones included; one message may wait however long it is. */
  readonly bytesMax: number;
}

/** What of a message counts. */
export type Weight = Pick<Message, "byteLength" | "memoryBytes">;

/** See the head of this file. */
export class QueueLoad {
  readonly #limits: QueueLimits;
  #count = 0;
  /** Of all bodies. */
  #bytes = 0;
  /** Of the large ones among them. */
  #memoryBytes = 0;
  #ceilingBytes = Number.POSITIVE_INFINITY;
  #ceilingMemoryBytes = Number.POSITIVE_INFINITY;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  /** Messages that wait. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of their bodies. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether one more message, of no bytes, would not fit. */
  get isFull(): boolean {
    return this.#count >= this.#limits.messagesMax || this.#bytes >= this.#limits.bytesMax;
  }

  /** Whether at most half of what may wait does. */
  get isLow(): boolean {
    return this.#count * 2 <= this.#limits.messagesMax && this.#bytes * 2 <= this.#limits.bytesMax;
  }

  /** Whether more than setCeiling() allows has come. */
  get isOver(): boolean {
    return this.#memoryBytes > this.#ceilingMemoryBytes || this.#packetBytes > this.#ceilingBytes;
  }

  /** Whether one more message fits. */
  hasRoomFor({ byteLength }: Weight): boolean {
    if (this.#count === 0) return true;
    return (
      this.#count < this.#limits.messagesMax && this.#bytes + byteLength <= this.#limits.bytesMax
    );
  }

  /** A message waits. */
  add({ byteLength, memoryBytes }: Weight): void {
    this.#count += 1;
    this.#bytes += byteLength;
    this.#memoryBytes += memoryBytes;
  }

  /** A message waits no more; to be called before it is disposed of. */
  remove({ byteLength, memoryBytes }: Weight): void {
    this.#count -= 1;
    this.#bytes -= byteLength;
    this.#memoryBytes -= memoryBytes;
  }

  /** Nothing waits. */
  clear(): void {
    this.#count = 0;
    this.#bytes = 0;
    this.#memoryBytes = 0;
  }

  /** From now on isOver tells where too much comes beside what waits now. */
  setCeiling(): void {
    this.#ceilingBytes = this.#packetBytes + BEYOND_FULL_BYTES;
    this.#ceilingMemoryBytes = this.#memoryBytes + BEYOND_FULL_MEMORY_BYTES;
  }

  /** What waits in packets: bodies and their headers. */
  get #packetBytes(): number {
    return this.#bytes - this.#memoryBytes + this.#count * FRAME_HEADER_BYTES;
  }
}
