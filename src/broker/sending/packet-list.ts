/**
 * Packets being put together anew: whole ones, and frames that gather in packets of their own. For
 * compaction; a queue that is being filled gathers in waiting-packets.ts.
 */

import { copyPinned, type PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { PacketShare, QueuedPacket } from "./packet-pool.ts";

/** Packets in order. */
export class PacketList {
  readonly packets: QueuedPacket[] = [];
  readonly #pool: PacketShare;
  /** The last packet, where frames may still join it. */
  #open: QueuedPacket | undefined;

  /** @param pool where new packets come from */
  constructor(pool: PacketShare) {
    this.#pool = pool;
  }

  /** Adds a packet as it is. */
  push(packet: QueuedPacket): void {
    this.packets.push(packet);
    this.#open = undefined;
  }

  /**
   * Copies whole frames behind all others.
   * @param bytes 0 to PACKET_BYTES_MAX
   */
  append(source: PinnedBuffer, offset: number, bytes: number): void {
    if (bytes === 0) return;
    if (this.#open === undefined || this.#open.room < bytes) {
      // Packets are given back meanwhile, so this is never many more than there were. As in any
      // queue, nobody pays for the first.
      const isBacklog = this.packets.length > 0;
      this.#open = this.#pool.acquire(isBacklog) ?? this.#pool.acquireBeyond();
      this.packets.push(this.#open);
    }
    copyPinned(source, offset, this.#open.buffer, this.#open.bytes, bytes);
    this.#open.bytes += bytes;
  }
}
