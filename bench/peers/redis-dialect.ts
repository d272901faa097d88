/**
 * Redis pub/sub over RESP2. A publisher says CLIENT REPLY OFF, so that nobody counts receivers for it.
 * @see Redis serialization protocol specification
 */

import { type Dialect, noMessage, type PeerIntent, receiveLine } from "./dialect.ts";
import type { PeerStream } from "./peer-stream.ts";

const LINE_FEED = 0x0a;
const DIGIT_ZERO = 0x30;
const BULK = "$".charCodeAt(0);
const ARRAY = "*".charCodeAt(0);

/** Lines of a delivery before its body: array, "$7", "message", its channel's length, channel, "$N". */
const LINES_BEFORE_BODY = 6;
const CRLF_BYTES = 2;

function encodeCommand(...parts: (string | Uint8Array)[]): Uint8Array {
  const pieces = parts.flatMap((part) => {
    const bytes = Buffer.from(part as string);
    return [Buffer.from(`$${bytes.byteLength}\r\n`), bytes, Buffer.from("\r\n")];
  });
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...pieces]);
}

function enter(stream: PeerStream, intent: PeerIntent): void {
  if (intent.subscribe.length === 0) {
    stream.say(encodeCommand("CLIENT", "REPLY", "OFF"));
    return;
  }
  stream.say(encodeCommand("SUBSCRIBE", ...intent.subscribe));
  for (const topic of intent.subscribe) {
    // *3, $9, subscribe, its length, the channel, :count
    const lines = Array.from({ length: 6 }, () => receiveLine(stream));
    if (lines[4] !== topic) throw new Error(`Redis answered ${lines.join(" ")}`);
  }
}

/** The number that stands after one byte at `at`. */
function numberAt(bytes: Uint8Array, at: number, feed: number): number {
  let value = 0;
  for (let index = at + 1; index < feed - 1; index += 1) {
    value = value * 10 + (bytes[index] as number) - DIGIT_ZERO;
  }
  return value;
}

/** RESP2, publish and subscribe alone. */
export const redisDialect: Dialect = {
  pauseMs: 0,
  enter,
  encodePublish: (topic, body) => encodeCommand("PUBLISH", topic, body),
  readDelivery(bytes, at, end) {
    if (end - at < 1) return undefined;
    if (bytes[at] !== ARRAY) {
      const feed = bytes.indexOf(LINE_FEED, at);
      return feed < 0 || feed >= end ? undefined : noMessage(feed + 1 - at);
    }
    let lineAt = at;
    for (let line = 1; line <= LINES_BEFORE_BODY; line += 1) {
      const feed = bytes.indexOf(LINE_FEED, lineAt);
      if (feed < 0 || feed >= end) return undefined;
      if (line === LINES_BEFORE_BODY) {
        if (bytes[lineAt] !== BULK) throw new Error("Redis sent no body where one was due");
        const bodyBytes = numberAt(bytes, lineAt, feed);
        const bodyAt = feed + 1 - at;
        const totalBytes = bodyAt + bodyBytes + CRLF_BYTES;
        return { totalBytes, bodyAt, bodyBytes, lengthAt: bodyAt - 4 };
      }
      lineAt = feed + 1;
    }
    return undefined;
  },
};
