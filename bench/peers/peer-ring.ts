/** The messages of bench/message-ring.ts in a peer's protocol, and the check on what is delivered. */

import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import {
  END_BODY_BYTES,
  FILLER_BYTE,
  type MessageCheck,
  messagesPerPacket,
  type PrebuiltPacket,
  RING_PACKETS,
} from "../message-ring.ts";
import { CLOSED_FD, checkFdCount, closeSampleFd } from "../sample-fds.ts";
import type { SourcesCheck } from "../sources-check.ts";
import { readEveryByte } from "../subscriber-check.ts";
import type { WorkOrder } from "../work-order.ts";
import type { DeliveryLayout, Dialect } from "./dialect.ts";
import type { PeerStream } from "./peer-stream.ts";

/** What the messages of one run have in common. */
export interface PeerRingShape {
  readonly messageBytes: number;
  /** As for seqbus: a chunk holds as many messages as a packet of that size would there. */
  readonly packetBytes: number;
  readonly fds: number;
  /** Which publisher this is. */
  readonly source: number;
}

/** Builds the chunks of one round; the numbers count as in buildRing(). */
export function buildPeerRing(
  dialect: Dialect,
  topics: readonly string[],
  { messageBytes, packetBytes, fds, source }: PeerRingShape,
): PrebuiltPacket[] {
  const perPacket = messagesPerPacket(messageBytes, packetBytes);
  const body = new Uint8Array(messageBytes).fill(FILLER_BYTE);
  const numberView = new DataView(body.buffer);
  numberView.setUint32(4, source, true);
  let number = 0;
  return Array.from({ length: RING_PACKETS }, () => {
    const pieces = Array.from({ length: perPacket }, () => {
      numberView.setUint32(0, number, true);
      number += 1;
      return dialect.encodePublish(topics[(number - 1) % topics.length] ?? "", body, fds).slice();
    });
    return packetOf(Buffer.concat(pieces));
  });
}

/** The message that tells subscribers how many there were. */
export function buildPeerEnd(
  dialect: Dialect,
  topic: string,
  messages: number,
  source: number,
): PrebuiltPacket {
  const body = new Uint8Array(END_BODY_BYTES);
  new DataView(body.buffer).setUint32(0, messages, true);
  new DataView(body.buffer).setUint32(4, source, true);
  return packetOf(dialect.encodePublish(topic, body, 0));
}

function packetOf(bytes: Uint8Array): PrebuiltPacket {
  const buffer = new PinnedBuffer(bytes.byteLength);
  buffer.bytes.set(bytes);
  return { buffer, bytes: bytes.byteLength };
}

/** Walks what has come on a stream, message by message. */
export class PeerWalk {
  readonly #stream: PeerStream;
  readonly #dialect: Dialect;
  readonly #check: MessageCheck | SourcesCheck;
  readonly #fds: number;
  readonly #readsAll: boolean;
  readonly #view: DataView;
  /** The last message that was read in full; most of the next ones look alike. */
  #layout: DeliveryLayout = { totalBytes: 0, bodyAt: 0, bodyBytes: -1, lengthAt: 0 };
  #startWord = -1;
  #lengthWord = -1;

  constructor(
    stream: PeerStream,
    dialect: Dialect,
    check: MessageCheck | SourcesCheck,
    order: Pick<WorkOrder, "fds" | "readsAll">,
  ) {
    this.#stream = stream;
    this.#dialect = dialect;
    this.#check = check;
    this.#fds = order.fds;
    this.#readsAll = order.readsAll;
    this.#view = new DataView(stream.buffer.bytes.buffer);
  }

  /**
   * Takes all whole messages that are there.
   * @throws {Error} where one is lost, repeated, out of order, of the wrong length or without its fds
   */
  takeMessages(): void {
    const stream = this.#stream;
    for (;;) {
      const at = stream.start;
      const layout = this.#layoutAt(at, stream.end);
      if (layout === undefined || stream.end - at < layout.totalBytes) return;
      if (layout.bodyBytes >= 0) this.#take(at, layout);
      stream.start = at + layout.totalBytes;
      if (this.#check.isEnded) return;
    }
  }

  /** By comparing eight bytes with the last message, or in full. */
  #layoutAt(at: number, end: number): DeliveryLayout | undefined {
    const layout = this.#layout;
    const isLike =
      end - at >= layout.totalBytes &&
      layout.bodyBytes >= 0 &&
      this.#view.getUint32(at, true) === this.#startWord &&
      this.#view.getUint32(at + layout.lengthAt, true) === this.#lengthWord;
    if (isLike) return layout;
    const read = this.#dialect.readDelivery(this.#stream.buffer.bytes, at, end);
    if (read === undefined || end - at < read.totalBytes || read.bodyBytes < 0) return read;
    this.#layout = read;
    this.#startWord = this.#view.getUint32(at, true);
    this.#lengthWord = this.#view.getUint32(at + read.lengthAt, true);
    return read;
  }

  #take(at: number, layout: DeliveryLayout): void {
    const number = this.#view.getUint32(at + layout.bodyAt, true);
    const source = this.#view.getUint32(at + layout.bodyAt + 4, true);
    this.#check.take(number, layout.bodyBytes, source);
    if (this.#readsAll) {
      const from = at + layout.bodyAt;
      readEveryByte(this.#stream.buffer.bytes, from, from + layout.bodyBytes);
    }
    if (this.#fds === 0 || this.#check.isEnded) return;
    this.#takeFds(number);
  }

  #takeFds(number: number): void {
    const { fds } = this.#stream;
    for (let index = 0; index < this.#fds; index += 1) {
      const fd = fds.shift();
      if (fd === undefined) return checkFdCount(index, this.#fds, number);
      if (fd !== CLOSED_FD) closeSampleFd(fd, number);
    }
  }
}
