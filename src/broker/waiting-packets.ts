/**
 * The packets of one send queue that wait to be sent, in order, and what they add up to. Decides
 * nothing: what may wait, and what is sent or dropped, is send-queue.ts's.
 */

import { copyPinned, type PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { FRAME_KIND_WORD, opcodeOf, paddedBytes } from "../protocol/frame.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import type { PacketPool, QueuedPacket } from "./packet-pool.ts";

/** Sent packets at the head of the array that are tolerated before the rest moves up. */
const SENT_PACKETS_KEPT = 32;

/** Packets in order, oldest first. */
export class WaitingPackets {
  readonly #pool: PacketPool;
  #packets: QueuedPacket[] = [];
  #head = 0;
  /** Bytes of all that wait. */
  bytes = 0;
  /** Fds of all that wait. */
  fds = 0;
  /** Bytes of large bodies behind these fds. */
  memoryBytes = 0;
  /** The same of all that ever came. */
  bytesTaken = 0;
  fdsTaken = 0;
  memoryBytesTaken = 0;
  /** Packets that ever left. */
  packetsSent = 0;

  /** @param pool gets back what is shifted or cleared */
  constructor(pool: PacketPool) {
    this.#pool = pool;
  }

  get isEmpty(): boolean {
    return this.#head === this.#packets.length;
  }

  /** The oldest packet. */
  get first(): QueuedPacket | undefined {
    return this.#packets[this.#head];
  }

  /** The newest packet. */
  get last(): QueuedPacket | undefined {
    return this.isEmpty ? undefined : this.#packets[this.#packets.length - 1];
  }

  /** Adds a packet behind all others. What it holds already counts from now on. */
  push(packet: QueuedPacket): void {
    this.putBack(packet);
    this.bytesTaken += packet.bytes;
    this.memoryBytesTaken += packet.memoryBytes;
    if (packet.bundle !== undefined) this.fdsTaken += packet.fds.length;
  }

  /** Adds a packet of those that takeAll() handed over, behind all others. */
  putBack(packet: QueuedPacket): void {
    this.#packets.push(packet);
    this.bytes += packet.bytes;
    this.memoryBytes += packet.memoryBytes;
    if (packet.bundle !== undefined) this.fds += packet.fds.length;
  }

  /** Copies frames behind those in a packet that waits; it must have room. */
  append(packet: QueuedPacket, source: PinnedBuffer, offset: number, bytes: number): void {
    copyPinned(source, offset, packet.buffer, packet.bytes, bytes);
    packet.bytes += bytes;
    this.bytes += bytes;
    this.bytesTaken += bytes;
  }

  /** The fds of a packet that waits have left, or never will: it goes on without them. */
  releaseFds(packet: QueuedPacket): void {
    if (packet.bundle === undefined) return;
    this.fds -= packet.fds.length;
    packet.bundle.release();
    packet.bundle = undefined;
  }

  /** Drops the oldest packet, which was sent. */
  shift(): void {
    const packet = this.#packets[this.#head];
    if (packet === undefined) return;
    this.bytes -= packet.bytes;
    this.memoryBytes -= packet.memoryBytes;
    if (packet.bundle !== undefined) this.fds -= packet.fds.length;
    this.#head += 1;
    this.packetsSent += 1;
    this.#pool.release(packet);
    if (this.isEmpty) this.#packets.length = 0;
    else if (this.#head >= SENT_PACKETS_KEPT) this.#packets.splice(0, this.#head);
    else return;
    this.#head = 0;
  }

  /** Messages among what waits; goes through all of it. */
  countMessages(): number {
    let count = 0;
    for (let index = this.#head; index < this.#packets.length; index += 1) {
      const { buffer, bytes } = this.#packets[index] as QueuedPacket;
      for (let at = 0; at < bytes; at += paddedBytes(buffer.words[at >>> 2] as number)) {
        const opcode = opcodeOf(buffer.words[(at >>> 2) + FRAME_KIND_WORD] as number);
        if (opcode === OPCODE.MESSAGE) count += 1;
      }
    }
    return count;
  }

  /** Hands all packets over, oldest first, and keeps none. */
  takeAll(): QueuedPacket[] {
    const packets = this.#packets.slice(this.#head);
    this.#packets = [];
    this.#head = 0;
    this.bytes = 0;
    this.fds = 0;
    this.memoryBytes = 0;
    return packets;
  }

  /** Gives all packets back, with their fds. */
  clear(): void {
    for (const packet of this.takeAll()) this.#pool.release(packet);
  }
}
