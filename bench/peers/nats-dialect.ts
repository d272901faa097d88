/**
 * The NATS client protocol: lines, and bodies with their length before them.
 * @see NATS documentation, "Client Protocol"
 */

import { type Dialect, noMessage, type PeerIntent, receiveLine } from "./dialect.ts";
import type { PeerStream } from "./peer-stream.ts";

const LINE_FEED = 0x0a;
const SPACE = 0x20;
const DIGIT_ZERO = 0x30;
const CRLF_BYTES = 2;

/** No line is shorter with its CR LF. */
const WORD_BYTES = 4;

/** "MSG ", little-endian. */
const MSG_WORD = 0x2047534d;

const CONNECT =
  'CONNECT {"verbose":false,"pedantic":false,"echo":true,"lang":"raw","version":"1","protocol":1}';

function enter(stream: PeerStream, intent: PeerIntent): void {
  const info = receiveLine(stream);
  if (!info.startsWith("INFO ")) throw new Error(`NATS greeted with "${info.slice(0, 40)}"`);
  const subjects =
    intent.subscribe.length > 1 && intent.isSeparate !== true ? ["bench.load.>"] : intent.subscribe;
  const subscribe = subjects.map((subject, at) => `SUB ${subject} ${at + 1}\r\n`).join("");
  stream.say(Buffer.from(`${CONNECT}\r\n${subscribe}PING\r\n`));
  const answer = receiveLine(stream);
  if (answer !== "PONG") throw new Error(`NATS answered "${answer}"`);
}

/** NATS, publish and subscribe alone. */
export const natsDialect: Dialect = {
  pauseMs: 0,
  enter,
  encodePublish: (topic, body) =>
    Buffer.concat([Buffer.from(`PUB ${topic} ${body.byteLength}\r\n`), body, Buffer.from("\r\n")]),
  readDelivery(bytes, at, end) {
    // Behind `end` are bytes of messages that have been taken.
    if (end - at < WORD_BYTES) return undefined;
    const feed = bytes.indexOf(LINE_FEED, at);
    if (feed < 0 || feed >= end) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, WORD_BYTES);
    if (view.getUint32(0, true) !== MSG_WORD) return noMessage(feed + 1 - at);
    let bodyBytes = 0;
    let factor = 1;
    for (let index = feed - 2; bytes[index] !== SPACE; index -= 1) {
      bodyBytes += factor * ((bytes[index] as number) - DIGIT_ZERO);
      factor *= 10;
    }
    const bodyAt = feed + 1 - at;
    return { totalBytes: bodyAt + bodyBytes + CRLF_BYTES, bodyAt, bodyBytes, lengthAt: bodyAt - 4 };
  },
};
