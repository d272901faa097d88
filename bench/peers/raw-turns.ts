/** A client that takes turns: it sends one message, receives one message. For both ends of a round trip. */

import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import type { WorkOrder } from "../work-order.ts";
import type { Dialect } from "./dialect.ts";
import { dialectOf, openPeer } from "./dialects.ts";
import { PeerStream } from "./peer-stream.ts";

/** A publisher and a subscriber in one, on two connections: Redis subscribers may not publish. */
export class RawTurns {
  readonly #dialect: Dialect;
  readonly #sending: PeerStream;
  readonly #receiving: PeerStream;
  readonly #message: PinnedBuffer;
  readonly #messageBytes: number;

  constructor(order: WorkOrder, topics: { sends: string; receives: string }) {
    const { path, relay, messageBytes } = order;
    this.#dialect = dialectOf(relay);
    this.#receiving = new PeerStream(openPeer(this.#dialect, path, true));
    this.#dialect.enter(this.#receiving, { subscribe: [topics.receives], fds: 0 });
    this.#sending = new PeerStream(openPeer(this.#dialect, path, false));
    this.#dialect.enter(this.#sending, { subscribe: [], fds: 0 });
    const body = new Uint8Array(messageBytes);
    const bytes = this.#dialect.encodePublish(topics.sends, body, 0);
    this.#message = new PinnedBuffer(bytes.byteLength);
    this.#message.bytes.set(bytes);
    this.#messageBytes = messageBytes;
  }

  send(): void {
    this.#sending.send(this.#message, this.#message.byteLength);
  }

  /** Blocks until one message has come. */
  receive(): void {
    const stream = this.#receiving;
    for (;;) {
      const layout = this.#dialect.readDelivery(stream.buffer.bytes, stream.start, stream.end);
      if (layout === undefined || stream.end - stream.start < layout.totalBytes) {
        stream.receive();
        continue;
      }
      stream.start += layout.totalBytes;
      if (layout.bodyBytes < 0) continue;
      if (layout.bodyBytes === this.#messageBytes) return;
      throw new Error(`Got ${layout.bodyBytes} bytes, wanted ${this.#messageBytes}`);
    }
  }

  close(): void {
    this.#sending.close();
    this.#receiving.close();
  }
}
