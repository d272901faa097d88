/**
 * Packets that wait to be sent, and the pool they come from: 64 KiB of pinned memory each, used
 * again, so that routing allocates nothing. What waits is charged to whoever does not read it: its
 * connection and uid (quota.ts), so slow readers take nothing from those of another user. Knows
 * nothing of sockets.
 *
 *     queue of one connection   [first packet][packet][packet][control]
 *     paid by                    nobody        quota   quota   quota, or the connection's reserve
 *
 * The first packet is free: an empty queue takes any one, and most queues never hold a second. So
 * nothing is counted for a client that keeps up.
 */

import { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import { excessOf, excessWords } from "../quotas/excess.ts";
import { type ConnectionQuota, RESOURCE } from "../quotas/quota.ts";
import {
  BACKLOG_BYTES_MAX,
  FREE_PACKETS_KEPT,
  FREE_SMALL_PACKETS_KEPT,
  SEND_QUEUE_CONTROL_BYTES_MAX,
  SMALL_PACKET_BYTES,
} from "./limits.ts";
import type { Fullness } from "./queue-room.ts";

/** One packet being filled or waiting. */
export class QueuedPacket {
  /** A packet of the pool keeps its own. */
  buffer: PinnedBuffer;
  /** Bytes filled so far. */
  bytes = 0;
  /** What holds the fds that travel with it; such a packet holds exactly one frame. */
  bundle: FdBundle | undefined = undefined;
  /** Those fds of the bundle; without meaning where there is none. */
  fds: readonly number[] = [];
  /** When it came to wait with them, in milliseconds on the broker's clock. */
  queuedAt = 0;
  /** Bytes of the large body behind the first of them; 0 for none. */
  memoryBytes = 0;
  /** Charged to the quota of its connection. */
  chargedBytes = 0;
  /** Charged to the reserve of its connection. */
  reserveBytes = 0;
  /** Bytes that it is meant for; its buffer may be larger. */
  capacity: number;

  constructor(buffer: PinnedBuffer) {
    this.buffer = buffer;
    this.capacity = buffer.byteLength;
  }

  /** Bytes that still fit. */
  get room(): number {
    return Math.min(this.capacity, this.buffer.byteLength) - this.bytes;
  }
}

/** Hands out packets and takes them back. One for a broker. */
export class PacketPool {
  readonly #free: QueuedPacket[] = [];
  readonly #freeSmall: QueuedPacket[] = [];
  #backlogBytes = 0;

  /** Bytes of packets that are charged to somebody. */
  get backlogBytes(): number {
    return this.#backlogBytes;
  }

  /** What one connection takes its packets from. @param quota charged for them */
  open(quota: ConnectionQuota): PacketShare {
    return new PacketShare(this, quota);
  }

  /**
   * Whether a uid that holds so much may hold more, all uids considered: half of what the others
   * leave free, as within a uid.
   */
  hasRoomFor(heldByUid: number, bytes: number): boolean {
    return heldByUid + bytes <= this.limitOf(heldByUid);
  }

  /** Bytes that a uid that holds so much may hold. */
  limitOf(heldByUid: number): number {
    const others = this.#backlogBytes - heldByUid;
    return Math.floor((BACKLOG_BYTES_MAX - others) / 2);
  }

  /** For PacketShare: an empty packet of PACKET_BYTES_MAX bytes. */
  take(): QueuedPacket {
    return this.#free.pop() ?? new QueuedPacket(new PinnedBuffer(PACKET_BYTES_MAX));
  }

  /** For PacketShare: an empty packet for so many bytes. */
  takeSized(bytes: number): QueuedPacket {
    if (bytes > SMALL_PACKET_BYTES) return new QueuedPacket(new PinnedBuffer(bytes));
    const free = this.#freeSmall.pop();
    const packet = free ?? new QueuedPacket(new PinnedBuffer(SMALL_PACKET_BYTES));
    packet.capacity = bytes;
    return packet;
  }

  /** For PacketShare: keeps a packet for the next use, where it is worth it. */
  put(packet: QueuedPacket): void {
    const { byteLength } = packet.buffer;
    if (byteLength === PACKET_BYTES_MAX) {
      if (this.#free.length < FREE_PACKETS_KEPT) this.#free.push(packet);
    } else if (byteLength === SMALL_PACKET_BYTES) {
      if (this.#freeSmall.length < FREE_SMALL_PACKETS_KEPT) this.#freeSmall.push(packet);
    }
  }

  /** For PacketShare: so many charged bytes more, or with a negative number less. */
  count(bytes: number): void {
    this.#backlogBytes += bytes;
  }
}

/** The packets of one connection, and who pays for them. */
export class PacketShare {
  readonly #pool: PacketPool;
  readonly #quota: ConnectionQuota;
  #reserveBytes = 0;

  /** Made by PacketPool.open() alone. */
  constructor(pool: PacketPool, quota: ConnectionQuota) {
    this.#pool = pool;
    this.#quota = quota;
  }

  /**
   * An empty packet of PACKET_BYTES_MAX bytes.
   * @param isBacklog the connection already has packets waiting, so this one is charged
   * @returns undefined where its quota, or that of its uid, does not allow it
   */
  acquire(isBacklog: boolean): QueuedPacket | undefined {
    if (!isBacklog) return this.#pool.take();
    return this.hasRoomFor(PACKET_BYTES_MAX) ? this.acquireBeyond() : undefined;
  }

  /** The same, always charged, for what must not be lost: whether it is allowed or not. */
  acquireBeyond(): QueuedPacket {
    const packet = this.#pool.take();
    this.#charge(packet, PACKET_BYTES_MAX);
    return packet;
  }

  /**
   * The same for control frames, which have a reserve of SEND_QUEUE_CONTROL_BYTES_MAX beyond the
   * quota: so a client whose siblings read nothing is still told what it must know.
   * @returns undefined where the reserve is used up, too
   */
  acquireControl(isBacklog: boolean): QueuedPacket | undefined {
    const packet = this.acquire(isBacklog);
    if (packet !== undefined) return packet;
    if (this.#reserveBytes + PACKET_BYTES_MAX > SEND_QUEUE_CONTROL_BYTES_MAX) return undefined;
    const reserve = this.#pool.take();
    reserve.reserveBytes = PACKET_BYTES_MAX;
    this.#reserveBytes += PACKET_BYTES_MAX;
    return reserve;
  }

  /**
   * An empty packet of a size of its own, whether its quota allows that or not: hasRoomFor() says so.
   * @param isBacklog as for acquire()
   */
  acquireSized(bytes: number, isBacklog: boolean): QueuedPacket {
    const packet = this.#pool.takeSized(bytes);
    if (isBacklog) this.#charge(packet, bytes);
    return packet;
  }

  /** Gives a packet back that never left: whoever pays for its fds does not any more. */
  drop(packet: QueuedPacket): void {
    const { bundle, fds } = packet;
    this.release(packet);
    bundle?.payer.release(fds.length);
  }

  /** Gives a packet back. Its fds, if it still has any, are let go. */
  release(packet: QueuedPacket): void {
    packet.bundle?.release();
    packet.bundle = undefined;
    packet.memoryBytes = 0;
    packet.bytes = 0;
    if (packet.chargedBytes > 0) this.#discharge(packet);
    this.#reserveBytes -= packet.reserveBytes;
    packet.reserveBytes = 0;
    this.#pool.put(packet);
  }

  /** Bytes used of the reserve for control frames. */
  get reserveBytes(): number {
    return this.#reserveBytes;
  }

  /** Whether so many bytes more may wait. */
  hasRoomFor(bytes: number): boolean {
    const held = this.#quota.user.used(RESOURCE.queuedBytes);
    if (!this.#pool.hasRoomFor(held, bytes)) return false;
    return this.#quota.hasRoomFor(RESOURCE.queuedBytes, bytes);
  }

  /**
   * Bytes that may wait here at once, with the first packet that nobody pays for, as long as the
   * others hold what they hold now. At least one packet.
   */
  get bytesMax(): number {
    const { user } = this.#quota;
    const held = user.used(RESOURCE.queuedBytes);
    const others = held - this.#quota.used(RESOURCE.queuedBytes);
    const ofPool = this.#pool.limitOf(held) - others;
    const charged = Math.max(0, Math.min(ofPool, this.#quota.limit(RESOURCE.queuedBytes)));
    return (1 + Math.floor(charged / PACKET_BYTES_MAX)) * PACKET_BYTES_MAX;
  }

  /** What leaves no room for one more packet; undefined where there is room. */
  lack(): Fullness | undefined {
    if (this.hasRoomFor(PACKET_BYTES_MAX)) return undefined;
    const { user } = this.#quota;
    const held = user.used(RESOURCE.queuedBytes);
    if (this.#pool.hasRoomFor(held, PACKET_BYTES_MAX)) {
      const excess = excessOf(this.#quota, "queuedBytes", PACKET_BYTES_MAX);
      const { limit, actual } = excess;
      return { limit, actual, words: excessWords(excess) };
    }
    const limit = this.#pool.limitOf(held);
    const actual = held + PACKET_BYTES_MAX;
    const words = `queued bytes: ${actual} of ${limit} that other users leave uid ${user.uid}`;
    return { limit, actual, words };
  }

  #charge(packet: QueuedPacket, bytes: number): void {
    packet.chargedBytes = bytes;
    this.#quota.impose(RESOURCE.queuedBytes, bytes);
    this.#pool.count(bytes);
  }

  #discharge(packet: QueuedPacket): void {
    this.#quota.release(RESOURCE.queuedBytes, packet.chargedBytes);
    this.#pool.count(-packet.chargedBytes);
    packet.chargedBytes = 0;
  }
}
