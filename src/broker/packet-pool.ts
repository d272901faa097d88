/**
 * Packets that wait to be sent, and the pool they come from: 64 KiB of pinned memory each, used
 * again, so that routing allocates nothing. A backlog limit keeps all slow readers together from
 * taking the machine's memory. Knows nothing of sockets.
 */

import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { PACKET_BYTES_MAX } from "../protocol/limits.ts";
import type { FdBundle } from "./fd-bundle.ts";
import { BACKLOG_PACKETS_MAX, FREE_PACKETS_KEPT } from "./limits.ts";

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
  /** Counted against the pool's backlog limit. */
  isBacklog = false;

  constructor(buffer: PinnedBuffer) {
    this.buffer = buffer;
  }

  /** Bytes that still fit. */
  get room(): number {
    return this.buffer.byteLength - this.bytes;
  }
}

/** Hands out packets and takes them back. */
export class PacketPool {
  readonly #free: QueuedPacket[] = [];
  #backlog = 0;

  /** Packets held by connections that could not be served at once. */
  get backlogPackets(): number {
    return this.#backlog;
  }

  /**
   * An empty packet of PACKET_BYTES_MAX bytes.
   * @param isBacklog true where the connection already has packets waiting: then the limit counts
   * @returns undefined where BACKLOG_PACKETS_MAX packets wait already
   */
  acquire(isBacklog: boolean): QueuedPacket | undefined {
    if (isBacklog && this.#backlog >= BACKLOG_PACKETS_MAX) return undefined;
    const packet = this.#free.pop() ?? new QueuedPacket(new PinnedBuffer(PACKET_BYTES_MAX));
    packet.isBacklog = isBacklog;
    if (isBacklog) this.#backlog += 1;
    return packet;
  }

  /** Gives a packet back. Its fds, if it still has any, are let go. */
  release(packet: QueuedPacket): void {
    packet.bundle?.release();
    packet.bundle = undefined;
    packet.memoryBytes = 0;
    packet.bytes = 0;
    if (packet.isBacklog) this.#backlog -= 1;
    packet.isBacklog = false;
    if (packet.buffer.byteLength === PACKET_BYTES_MAX && this.#free.length < FREE_PACKETS_KEPT) {
      this.#free.push(packet);
    }
  }
}
