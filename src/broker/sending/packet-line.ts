/** Packets in the order in which they leave. A queue that shifts without moving all the others. */

import { NEVER } from "../deadlines.ts";
import type { QueuedPacket } from "./packet-pool.ts";

/** Packets that left are cut off once there are so many. */
const LEFT_KEPT = 32;

/** The packets of all lines that never held one: most connections are idle. */
const NONE: QueuedPacket[] = [];

/** The packets that wait for one connection. */
export class PacketLine {
  #packets = NONE;
  #head = 0;

  get length(): number {
    return this.#packets.length - this.#head;
  }

  get first(): QueuedPacket | undefined {
    return this.#packets[this.#head];
  }

  get last(): QueuedPacket | undefined {
    return this.length === 0 ? undefined : this.#packets[this.#packets.length - 1];
  }

  /** The packet behind `index` others; undefined where there is none. */
  at(index: number): QueuedPacket | undefined {
    return this.#packets[this.#head + index];
  }

  /** When the first packet with fds came to wait; Infinity where there is none. */
  oldestFdsAt(): number {
    for (let index = this.#head; index < this.#packets.length; index += 1) {
      const packet = this.#packets[index];
      if (packet?.bundle !== undefined) return packet.queuedAt;
    }
    return NEVER;
  }

  push(packet: QueuedPacket): void {
    if (this.#packets === NONE) this.#packets = [];
    this.#packets.push(packet);
  }

  /** Removes the first packet, which must be there. */
  shift(): void {
    this.#head += 1;
    if (this.#head === this.#packets.length) this.#packets.length = 0;
    else if (this.#head >= LEFT_KEPT) this.#packets.splice(0, this.#head);
    else return;
    this.#head = 0;
  }

  /** Removes all. @returns them, in order */
  takeAll(): QueuedPacket[] {
    const packets = this.#packets.slice(this.#head);
    this.#packets = [];
    this.#head = 0;
    return packets;
  }
}
