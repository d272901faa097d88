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

/** A place in a queue, which is empty once its message was taken or dropped. */
export interface Place {
  readonly message: Message<unknown> | undefined;
}

/**
 * The same for a queue that loses messages out of its middle. Once another packet comes, what still
 * waits of the one before is copied out of it, each by itself; a program that keeps up has none left.
 */
export class PacketLeavings {
  /** Of the latest packet. */
  #places: Place[] = [];
  #latest: Message<unknown> | undefined;

  /** A message comes to wait. */
  note(message: Message<unknown>, place: Place): void {
    if (this.#latest?.sharesPacketWith(message) !== true) {
      for (const { message: left } of this.#places) if (left !== undefined) keepAlone(left);
      this.#places = [];
      this.#latest = message;
    }
    this.#places.push(place);
  }

  /** Nothing waits any more. */
  clear(): void {
    this.#places = [];
    this.#latest = undefined;
  }
}

function keepAlone(message: Message<unknown>): void {
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
