/**
 * The packets of one send queue that wait to be sent, in order, and what they add up to. Decides
 * nothing: what may wait, and what is sent or dropped, is send-queue.ts's.
 */

import { copyPinned, type PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { FRAME_KIND_WORD, paddedBytes } from "../../protocol/frame.ts";
import { NEVER } from "../deadlines.ts";
import { type FdLoss, isMessage, markFdsLost, NOT_TAKEN, needsFds } from "./frame-marks.ts";
import { type LaterLossListener, LossTally } from "./loss-tally.ts";
import { PacketLine } from "./packet-line.ts";
import type { PacketShare, QueuedPacket } from "./packet-pool.ts";
import type { QueueLoad } from "./queue-room.ts";

/**
 * Messages of publishers that waited and will not be sent, with their bytes. Last values and what the
 * broker says itself are not counted: they were not when they came either (figures.ts).
 */
export interface Withdrawn {
  readonly messages: number;
  readonly bytes: number;
}

const NOTHING_WITHDRAWN: Withdrawn = { messages: 0, bytes: 0 };
const TELL_NOBODY: LaterLossListener = () => {};

const NOTHING_SOUGHT: QueueLoad = { bytes: 0, fds: 0, memoryBytes: 0 };

/** Packets in order, oldest first. */
export class WaitingPackets {
  readonly #pool: PacketShare;
  #packets = new PacketLine();
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
  /** What was dropped, or lost with its fds. */
  withdrawn: Withdrawn = NOTHING_WITHDRAWN;
  /** What found no room last. */
  sought: QueueLoad = NOTHING_SOUGHT;
  /** Packets that ever left. */
  packetsSent = 0;
  /** Told of `withdrawn`, by publisher. */
  onLost: LaterLossListener = TELL_NOBODY;

  /** @param pool gets back what is shifted or cleared */
  constructor(pool: PacketShare) {
    this.#pool = pool;
  }

  get isEmpty(): boolean {
    return this.#packets.length === 0;
  }

  /** The oldest packet. */
  get first(): QueuedPacket | undefined {
    return this.#packets.first;
  }

  /** The newest packet. */
  get last(): QueuedPacket | undefined {
    return this.#packets.last;
  }

  /** The packet behind `index` others; undefined where there is none. */
  at(index: number): QueuedPacket | undefined {
    return this.#packets.at(index);
  }

  /** When the first packet with fds came to wait; Infinity where there is none. */
  oldestFdsAt(): number {
    return this.fds === 0 ? NEVER : this.#packets.oldestFdsAt();
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

  /** The fds of a packet that waits have left, and whoever sent them on pays now. */
  letGoOfFds(packet: QueuedPacket): void {
    if (packet.bundle === undefined) return;
    this.fds -= packet.fds.length;
    packet.bundle.release();
    packet.bundle = undefined;
  }

  /**
   * A frame that waits will never have its fds: it says so, or where nothing is left of it, who brought
   * it about is told. Who pays for the fds is the caller's to release.
   */
  loseFds(packet: QueuedPacket, loss: FdLoss): void {
    const { bytes, memoryBytes, bundle } = packet;
    const lost = new LossTally();
    const { words } = packet.buffer;
    if (needsFds(words[FRAME_KIND_WORD] as number)) lost.add(words, 0, bytes);
    const isLeft = markFdsLost(packet, loss);
    this.bytes += packet.bytes - bytes;
    this.memoryBytes += packet.memoryBytes - memoryBytes;
    // The packet still has its bundle, so whatever is queued now goes into another one.
    this.noteLost(lost);
    if (!isLeft) bundle?.onRefused?.(loss.outcome);
    this.letGoOfFds(packet);
  }

  /**
   * Withdraws fds that have waited for too long, as SendQueue.expireFds() says.
   * @returns copies that were withdrawn; their payer knows
   */
  expireFds(before: number): number {
    let expired = 0;
    for (let index = 0; index < this.#packets.length; index += 1) {
      const packet = this.#packets.at(index);
      if (packet?.bundle === undefined) continue;
      if (packet.queuedAt > before) break;
      expired += packet.fds.length;
      packet.bundle.payer.expire(packet.fds.length);
      this.loseFds(packet, NOT_TAKEN);
    }
    return expired;
  }

  /** So much of what was taken will not be sent. */
  noteLost({ messages, bytes, losses }: LossTally): void {
    const before = this.withdrawn;
    this.withdrawn = { messages: before.messages + messages, bytes: before.bytes + bytes };
    for (const loss of losses) this.onLost(loss);
  }

  /** Drops the oldest packets, which were sent. @param count of those that wait */
  shift(count = 1): void {
    for (let index = 0; index < count; index += 1) this.#shiftOne();
  }

  #shiftOne(): void {
    const packet = this.#packets.first;
    if (packet === undefined) return;
    this.bytes -= packet.bytes;
    this.memoryBytes -= packet.memoryBytes;
    if (packet.bundle !== undefined) this.fds -= packet.fds.length;
    this.packetsSent += 1;
    this.#packets.shift();
    this.#pool.release(packet);
  }

  /**
   * Gives all packets back, as nobody will read them; goes through all frames.
   * @returns messages among them, last values and those of the broker included
   */
  abandon(): number {
    const lost = new LossTally();
    let count = 0;
    for (let index = 0; index < this.#packets.length; index += 1) {
      const packet = this.#packets.at(index) as QueuedPacket;
      const { words } = packet.buffer;
      for (let at = 0; at < packet.bytes; ) {
        const bytes = paddedBytes(words[at >>> 2] as number);
        if (isMessage(words[(at >>> 2) + FRAME_KIND_WORD] as number)) count += 1;
        lost.add(words, at, bytes);
        at += bytes;
      }
    }
    for (const packet of this.takeAll()) this.#pool.drop(packet);
    this.noteLost(lost);
    return count;
  }

  /** Hands all packets over, oldest first, and keeps none. */
  takeAll(): QueuedPacket[] {
    const packets = this.#packets.takeAll();
    this.bytes = 0;
    this.fds = 0;
    this.memoryBytes = 0;
    return packets;
  }
}
