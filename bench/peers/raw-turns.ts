/**
 * A client that takes turns: it sends one message, receives one message. For both ends of a round trip.
 * The number of the round stands where the body of the prebuilt message begins, whatever the protocol.
 */

import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { checkLength } from "../round-number.ts";
import type { WorkOrder } from "../work-order.ts";
import type { Dialect } from "./dialect.ts";
import { dialectOf, openPeer } from "./dialects.ts";
import { PeerStream } from "./peer-stream.ts";

/** Fills bodies, so that a body can be found in a message: no protocol has so many of them in a row. */
const BODY_BYTE = 0x5a;

/** A publisher and a subscriber in one, on two connections: Redis subscribers may not publish. */
export class RawTurns {
  readonly #dialect: Dialect;
  readonly #sending: PeerStream;
  readonly #receiving: PeerStream;
  readonly #message: PinnedBuffer;
  readonly #messageView: DataView;
  readonly #bodyAt: number;
  readonly #receivedView: DataView;
  readonly #messageBytes: number;

  constructor(order: WorkOrder, topics: { sends: string; receives: string }) {
    const { path, relay, messageBytes } = order;
    this.#dialect = dialectOf(relay);
    this.#receiving = new PeerStream(openPeer(this.#dialect, path, true));
    this.#dialect.enter(this.#receiving, { subscribe: [topics.receives], fds: 0 });
    this.#sending = new PeerStream(openPeer(this.#dialect, path, false));
    this.#dialect.enter(this.#sending, { subscribe: [], fds: 0 });
    const body = Buffer.alloc(messageBytes, BODY_BYTE);
    const bytes = Buffer.from(this.#dialect.encodePublish(topics.sends, body, 0));
    this.#message = new PinnedBuffer(bytes.byteLength);
    this.#message.bytes.set(bytes);
    this.#messageView = new DataView(this.#message.bytes.buffer);
    this.#bodyAt = bytes.lastIndexOf(body);
    this.#receivedView = new DataView(this.#receiving.buffer.bytes.buffer);
    this.#messageBytes = messageBytes;
  }

  /** Sends one message with the number of a round. */
  send(round: number): void {
    this.#messageView.setUint32(this.#bodyAt, round, true);
    this.#sending.send(this.#message, this.#message.byteLength);
  }

  /**
   * Blocks until one message has come.
   * @returns the number of its round
   * @throws {Error} where it is not of the expected length
   */
  receive(): number {
    const stream = this.#receiving;
    for (;;) {
      const at = stream.start;
      const layout = this.#dialect.readDelivery(stream.buffer.bytes, at, stream.end);
      if (layout === undefined || stream.end - at < layout.totalBytes) {
        stream.receive();
        continue;
      }
      stream.start += layout.totalBytes;
      if (layout.bodyBytes < 0) continue;
      checkLength(layout.bodyBytes, this.#messageBytes);
      return this.#receivedView.getUint32(at + layout.bodyAt, true);
    }
  }

  close(): void {
    this.#sending.close();
    this.#receiving.close();
  }
}
