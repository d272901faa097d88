/**
 * What is left of packets that were too costly for one turn: their frames from some point on, kept
 * until their turn comes. One for a connection at most, since it is not read from meanwhile. All of
 * it was found well-formed before any of the packet took effect. No fds: their packets hold one frame.
 */

import { copyPinned, PinnedBuffer } from "../ffi/pinned-buffer.ts";
import type { Connection } from "./connection.ts";
import type { ReceivedPacket } from "./packet-handler.ts";

/** The rest of one packet, handled like a packet. */
export class PacketRest implements ReceivedPacket {
  readonly buffer: PinnedBuffer;
  readonly receivedFdCount = 0;
  readonly controlTruncated = false;
  readonly isRest = true;

  /**
   * @param source holds the packet, borrowed
   * @param from bytes that were handled already
   */
  constructor(source: PinnedBuffer, from: number, packetBytes: number) {
    this.buffer = new PinnedBuffer(packetBytes - from);
    copyPinned(source, from, this.buffer, 0, packetBytes - from);
  }

  takeFds(): number[] {
    return [];
  }

  closeFds(): number {
    return 0;
  }
}

/** Rests by connection, the one that has waited longest first. */
export class PacketRests {
  readonly #rests = new Map<Connection, PacketRest>();

  get size(): number {
    return this.#rests.size;
  }

  has(connection: Connection): boolean {
    return this.#rests.has(connection);
  }

  /** Keeps a rest, behind all others. */
  push(connection: Connection, rest: PacketRest): void {
    this.#rests.set(connection, rest);
  }

  /** Hands over the one that has waited longest. */
  shift(): [Connection, PacketRest] | undefined {
    const oldest = this.#rests.entries().next().value;
    if (oldest !== undefined) this.#rests.delete(oldest[0]);
    return oldest;
  }

  /** The connection ends. */
  drop(connection: Connection): void {
    this.#rests.delete(connection);
  }

  /** Nothing is handled any more. */
  clear(): void {
    this.#rests.clear();
  }
}
