/**
 * How frames come to wait for one client: into which packet each is copied, and what is lost, or made
 * room for, where there is no place. How they leave is queue-departure.ts's, and which of them need
 * not wait at all is send-queue.ts's.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import { GAP_REASON } from "../../protocol/opcodes.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import type { FdOutletHost } from "../fds/fd-outlet.ts";
import { CONTROL_FRAME_BUFFER } from "./control-frames.ts";
import { encodeGap, isMessage, memoryBytesOf } from "./frame-marks.ts";
import { OVERFLOW_DEFAULT } from "./overflow-rules.ts";
import type { PacketShare, QueuedPacket } from "./packet-pool.ts";
import type { QueueDeparture } from "./queue-departure.ts";
import type { QueueLosses } from "./queue-losses.ts";
import { ACCEPTED, PEER_GONE, QUEUE_FULL } from "./queue-outcomes.ts";
import { QueueOverflow } from "./queue-overflow.ts";
import * as room from "./queue-room.ts";
import type { WaitingPackets } from "./waiting-packets.ts";

/** turnAway(): it is not. */
export const NOT_TURNED_AWAY = 0;

/** Enough for a TOPIC frame. */
const NAME_BYTES = 1_024;

/** What the way into a queue is made from: the other parts of that queue. */
export interface QueueArrivalParts {
  readonly waiting: WaitingPackets;
  readonly pool: PacketShare;
  readonly losses: QueueLosses;
  readonly departure: QueueDeparture;
  readonly outletHost: FdOutletHost;
}

/** The way into one queue. */
export class QueueArrival {
  readonly #waiting: WaitingPackets;
  readonly #pool: PacketShare;
  readonly #losses: QueueLosses;
  readonly #departure: QueueDeparture;
  readonly #outletHost: FdOutletHost;
  #overflow: QueueOverflow | undefined;

  /** Nothing is taken any more. */
  isShut = false;

  constructor({ waiting, pool, losses, departure, outletHost }: QueueArrivalParts) {
    this.#waiting = waiting;
    this.#pool = pool;
    this.#losses = losses;
    this.#departure = departure;
    this.#outletHost = outletHost;
  }

  /** Whether a run would be taken without dropping anything. */
  hasRoomFor(bytes: number): boolean {
    return !this.#losses.isShedding && !this.isShut && room.fits(this.#waiting, bytes);
  }

  /** Whether a run may wait, and the quota has room for the packet that it takes. */
  canAdd(packetBytes: number, bytes = packetBytes): boolean {
    if (!this.hasRoomFor(bytes)) return false;
    return this.#waiting.isEmpty || this.#pool.hasRoomFor(packetBytes);
  }

  /** Sets what happens to the messages of a topic id where they do not fit. */
  setOverflow(topicId: number, overflow: OverflowPolicy): void {
    if (this.#overflow === undefined && overflow === OVERFLOW_DEFAULT) return;
    this.#overflow ??= new QueueOverflow(this.#waiting, this.#pool, () => this.tellGaps());
    this.#overflow.set(topicId, overflow);
  }

  /**
   * Whether the name of a topic is to be sent, before a message on it: not while messages are lost, or
   * are about to be. Where old messages may go for new ones, they go for this one's name.
   */
  takesName(topicId: number): boolean {
    if (this.#overflow?.dropsOld(topicId) !== true) return this.hasRoomFor(PACKET_BYTES_MAX);
    const hasRoom = () =>
      this.canAdd(PACKET_BYTES_MAX) ||
      (this.hasRoomFor(PACKET_BYTES_MAX) && this.#joinsLast(NAME_BYTES));
    this.#overflow.dropOld(hasRoom);
    return hasRoom();
  }

  /** @returns NOT_TURNED_AWAY, or why nothing of a run is taken */
  turnAway(source: PinnedBuffer, offset: number, bytes: number): number {
    if (this.isShut) return PEER_GONE;
    if (!this.#losses.hides(source, offset, bytes)) return NOT_TURNED_AWAY;
    return this.lose(source, offset, bytes);
  }

  /**
   * Copies a run of message frames without fds, or one frame of a call, behind what waits.
   * @returns ACCEPTED, QUEUE_FULL (messages are recorded as lost) or SLOW_READER
   */
  add(source: PinnedBuffer, offset: number, bytes: number): number {
    const packet = this.#losses.isShedding ? undefined : this.#packetFor(bytes);
    if (packet === undefined) return this.#addFull(source, offset, bytes);
    this.#waiting.append(packet, source, offset, bytes);
    return ACCEPTED;
  }

  /**
   * Copies one frame that carries fds behind what waits.
   * @param bundle retained where the frame is taken
   * @param fds those of the bundle that the client gets
   * @returns as add()
   */
  addWithFds(
    source: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
    fds: readonly number[],
  ): number {
    const memoryBytes = memoryBytesOf(source, offset);
    if (!this.#canAddWithFds(bytes, fds.length, memoryBytes)) {
      const more = { bytes, fds: fds.length, memoryBytes };
      const outcome = this.#makeRoomWithFds(source, offset, more);
      if (outcome !== ACCEPTED) return outcome;
    }
    const packet = this.#pool.acquireSized(bytes, !this.#waiting.isEmpty);
    packet.bundle = bundle.retain();
    packet.fds = fds;
    packet.queuedAt = this.#outletHost.fdClock;
    packet.memoryBytes = memoryBytes;
    this.#waiting.push(packet);
    this.#waiting.append(packet, source, offset, bytes);
    return ACCEPTED;
  }

  /** Copies one control frame behind what waits, as SendQueue.push() says. */
  addControl(source: PinnedBuffer, bytes: number): number {
    if (this.isShut) return ACCEPTED;
    if (!room.fitsReserve(this.#waiting, bytes)) return this.refuse(bytes);
    const hasRoom = this.#joinsLast(bytes);
    const packet = hasRoom ? this.#waiting.last : this.#pool.acquireControl(!this.#waiting.isEmpty);
    if (packet === undefined) return this.refuse(bytes);
    if (!hasRoom) this.#waiting.push(packet);
    this.#waiting.append(packet, source, 0, bytes);
    return ACCEPTED;
  }

  /**
   * Puts what was lost so far into the queue now, also where it is full.
   * @returns ACCEPTED, or QUEUE_FULL where even the reserve is used up
   */
  tellGaps(): number {
    if (!this.#losses.isShedding) return ACCEPTED;
    for (const [topicId, count] of this.#losses.take()) {
      const bytes = encodeGap(topicId, count, GAP_REASON.SEND_QUEUE_FULL);
      if (this.addControl(CONTROL_FRAME_BUFFER, bytes) === QUEUE_FULL) return QUEUE_FULL;
    }
    return ACCEPTED;
  }

  /** One frame has no room: SendQueue.fullness() counts it as if it waited. @returns QUEUE_FULL */
  refuse(bytes: number): number {
    this.#waiting.sought = { bytes, fds: 0, memoryBytes: 0 };
    return QUEUE_FULL;
  }

  /** Calls are never counted in a gap: whoever sent them is told. @returns QUEUE_FULL */
  lose(source: PinnedBuffer, offset: number, bytes: number): number {
    if (isMessage(source.words[(offset >>> 2) + 1] ?? 0)) {
      this.#losses.record(source, offset, bytes);
    }
    return QUEUE_FULL;
  }

  /** A run that does not fit, or that comes while others are lost. */
  #addFull(source: PinnedBuffer, offset: number, bytes: number): number {
    this.#waiting.sought = { bytes, fds: 0, memoryBytes: 0 };
    const hasRoom = () =>
      this.canAdd(PACKET_BYTES_MAX, bytes) || (this.hasRoomFor(bytes) && this.#joinsLast(bytes));
    const outcome = this.#makeRoom(source, offset, bytes, hasRoom);
    if (outcome !== ACCEPTED) return outcome;
    const packet = this.#packetFor(bytes) ?? this.#pool.acquireBeyond();
    if (packet !== this.#waiting.last) this.#waiting.push(packet);
    this.#waiting.append(packet, source, offset, bytes);
    return ACCEPTED;
  }

  #canAddWithFds(bytes: number, fds: number, memoryBytes: number): boolean {
    return this.canAdd(bytes) && room.fitsWithFds(this.#waiting, bytes, fds, memoryBytes);
  }

  /** A frame with fds does not fit. @returns as #makeRoom() */
  #makeRoomWithFds(source: PinnedBuffer, offset: number, more: room.QueueLoad): number {
    const { bytes, fds, memoryBytes } = more;
    this.#waiting.sought = more;
    const hasRoom = () => this.#canAddWithFds(bytes, fds, memoryBytes);
    return this.#makeRoom(source, offset, bytes, hasRoom);
  }

  /** @returns ACCEPTED where a run is to be taken; else as add(), and it is recorded as lost */
  #makeRoom(source: PinnedBuffer, offset: number, bytes: number, hasRoom: () => boolean): number {
    const isPlain = isMessage(source.words[(offset >>> 2) + 1] ?? 0);
    const outcome =
      isPlain && this.#overflow !== undefined
        ? this.#overflow.makeRoom(source.words, { offset, bytes }, hasRoom)
        : QUEUE_FULL;
    return outcome === QUEUE_FULL ? this.lose(source, offset, bytes) : outcome;
  }

  /** Whether frames fit into the packet at the end of the queue. */
  #joinsLast(bytes: number): boolean {
    const tail = this.#waiting.last;
    return tail !== undefined && tail.bundle === undefined && tail.room >= bytes;
  }

  /** The packet at the end of the queue with room for `bytes`, or a new one; undefined when full. */
  #packetFor(bytes: number): QueuedPacket | undefined {
    if (!room.fits(this.#waiting, bytes)) return undefined;
    const tail = this.#waiting.last;
    if (this.#joinsLast(bytes)) return tail;
    if (tail !== undefined && this.#departure.blockedFd < 0) this.#departure.sendWaiting();
    const packet = this.#pool.acquire(!this.#waiting.isEmpty);
    if (packet !== undefined) this.#waiting.push(packet);
    return packet;
  }
}
