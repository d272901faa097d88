/**
 * What a raw client has to know of a peer's protocol: how to come in, what a published message
 * looks like, and where the body of a delivered one lies. Everything else is the same for all.
 */

import type { PeerStream } from "./peer-stream.ts";

/** What a client wants. */
export interface PeerIntent {
  /** Topics to receive, or none; where there are several, all of the benchmark's by one pattern. */
  readonly subscribe: readonly string[];
  /** Rather one subscription for each. */
  readonly isSeparate?: boolean;
  /** How many fds come with each message. */
  readonly fds: number;
}

/** Where one delivery lies, in bytes from its start. */
export interface DeliveryLayout {
  readonly totalBytes: number;
  readonly bodyAt: number;
  /** -1 for something that is no message: a ping, an answer. */
  readonly bodyBytes: number;
  /** Four bytes that say how long the body is; alike in all messages of one size. */
  readonly lengthAt: number;
}

/** One protocol. */
export interface Dialect {
  /** Milliseconds that a subscriber rests before a read that found nothing. */
  readonly pauseMs: number;
  /** The handshake and the subscriptions, blocking: after it every message is delivered. */
  enter(stream: PeerStream, intent: PeerIntent): void;
  /** Where a client connects, if that depends on what it does. */
  readonly addressFor?: (address: string, receives: boolean) => string;
  /** One message as a publisher sends it. */
  encodePublish(topic: string, body: Uint8Array, fds: number): Uint8Array;
  /** @returns undefined where less is there than can be judged */
  readDelivery(bytes: Uint8Array, at: number, end: number): DeliveryLayout | undefined;
}

/** A message that a publisher could not be told of: what is no message, and how long it is. */
export function noMessage(totalBytes: number): DeliveryLayout {
  return { totalBytes, bodyAt: 0, bodyBytes: -1, lengthAt: 0 };
}

/**
 * Receives one line, blocking.
 * @returns it without its CR LF
 */
export function receiveLine(stream: PeerStream): string {
  for (;;) {
    const { bytes } = stream.buffer;
    const feed = bytes.indexOf(0x0a, stream.start);
    if (feed >= 0 && feed < stream.end) {
      const line = Buffer.from(bytes.subarray(stream.start, feed)).toString("latin1");
      stream.start = feed + 1;
      return line.replace(/\r$/, "");
    }
    stream.receive();
  }
}
