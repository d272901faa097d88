/**
 * Messages look into the packet that they came in, and one that waits keeps all of it in memory. Where
 * few of a packet's messages wait in a queue, they are copied out of it, into memory of their size; so
 * what waits never keeps more than about twice its own bytes, and one packet.
 */

import { FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import type { Message } from "./message.ts";

/** Looks at the messages of one queue, in the order in which they come to wait. */
export class PacketThrift {
  /** Those of the latest packet, until they are known to be half of it. */
  #messages: Message<unknown>[] = [];
  #bytes = 0;
  #latest: Message<unknown> | undefined;

  /** A message comes to wait. */
  note(message: Message<unknown>): void {
    if (this.#latest?.sharesPacketWith(message) !== true) this.#begin(message);
    const { packetBytes } = message;
    // All of them were worth it before.
    if (this.#bytes * 2 >= packetBytes) return;
    this.#bytes += FRAME_HEADER_BYTES + message.byteLength;
    if (this.#bytes * 2 < packetBytes) this.#messages.push(message);
    else this.#messages = [];
  }

  /** Nothing waits any more. */
  clear(): void {
    this.#messages = [];
    this.#bytes = 0;
    this.#latest = undefined;
  }

  /** The first of another packet: of the last one no more comes. */
  #begin(message: Message<unknown>): void {
    if (this.#messages.length > 0) copyOut(this.#messages);
    this.#messages = [];
    this.#bytes = 0;
    this.#latest = message;
  }
}

/** Copies a message out of a packet whose other messages may go long before it. */
export function keepAlone(message: Message<unknown>): void {
  const { byteLength, packetBytes } = message;
  if ((FRAME_HEADER_BYTES + byteLength) * 2 < packetBytes) copyOut([message]);
}

/** One piece of memory for all of them: they wait in a row, and go in a row. */
function copyOut(messages: readonly Message<unknown>[]): void {
  const bytes = messages.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const copy = new Uint8Array(bytes);
  let at = 0;
  for (const message of messages) at = message.moveTo(copy, at);
}
