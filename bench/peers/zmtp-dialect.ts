/**
 * ZMTP 3.0, the wire of ZeroMQ, with the NULL mechanism: PUB towards the proxy's XSUB, SUB towards its
 * XPUB. A message is one frame: the topic, a NUL byte, the body.
 * @see ZMTP 3.0, RFC 23 of ZeroMQ
 */

import { type Dialect, noMessage, type PeerIntent } from "./dialect.ts";
import type { PeerStream } from "./peer-stream.ts";

const FLAG_LONG = 0x02;
const FLAG_COMMAND = 0x04;
const SHORT_HEADER_BYTES = 2;
const LONG_HEADER_BYTES = 9;
const SHORT_BYTES_MAX = 255;
const GREETING_BYTES = 64;
const SUBSCRIBE = 1;

/** The low half of a long frame's length, which is big-endian. */
const LONG_LENGTH_AT = 5;

/** Nothing tells when a subscription is in force; a message lost by it would fail the run. */
const SUBSCRIBED_AFTER_MS = 300;

function encodeGreeting(): Buffer {
  const greeting = Buffer.alloc(GREETING_BYTES);
  greeting[0] = 0xff;
  greeting[9] = 0x7f;
  greeting[10] = 3;
  greeting.write("NULL", 12, "latin1");
  return greeting;
}

function encodeFrame(flags: number, content: Uint8Array): Buffer {
  const isLong = content.byteLength > SHORT_BYTES_MAX;
  const header = Buffer.alloc(isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES);
  header[0] = flags | (isLong ? FLAG_LONG : 0);
  if (isLong) header.writeBigUInt64BE(BigInt(content.byteLength), 1);
  else header[1] = content.byteLength;
  return Buffer.concat([header, content]);
}

function encodeReady(socketType: string): Buffer {
  const length = Buffer.from([0, 0, 0, socketType.length]);
  const name = Buffer.from("\x05READY\x0bSocket-Type", "latin1");
  return encodeFrame(FLAG_COMMAND, Buffer.concat([name, length, Buffer.from(socketType)]));
}

function enter(stream: PeerStream, intent: PeerIntent): void {
  const { subscribe, isSeparate } = intent;
  stream.say(encodeGreeting());
  while (stream.end - stream.start < GREETING_BYTES) stream.receive();
  stream.start += GREETING_BYTES;
  stream.say(encodeReady(subscribe.length > 0 ? "SUB" : "PUB"));
  awaitReady(stream);
  if (subscribe.length === 0) return;
  const isPattern = subscribe.length > 1 && isSeparate !== true;
  const prefixes = isPattern ? ["bench.load."] : subscribe.map((topic) => `${topic}\0`);
  const frames = prefixes.map((prefix) =>
    encodeFrame(0, Buffer.concat([Buffer.from([SUBSCRIBE]), Buffer.from(prefix)])),
  );
  stream.say(Buffer.concat(frames));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SUBSCRIBED_AFTER_MS);
}

function awaitReady(stream: PeerStream): void {
  for (;;) {
    const layout = zmtpDialect.readDelivery(stream.buffer.bytes, stream.start, stream.end);
    if (layout !== undefined && stream.end - stream.start >= layout.totalBytes) {
      stream.start += layout.totalBytes;
      return;
    }
    stream.receive();
  }
}

/** ZeroMQ through its proxy. */
export const zmtpDialect: Dialect = {
  pauseMs: 0,
  enter,
  addressFor: (address, receives) => (receives ? zeromqSubscribersPath(address) : address),
  encodePublish: (topic, body) => encodeFrame(0, Buffer.concat([Buffer.from(`${topic}\0`), body])),
  readDelivery(bytes, at, end) {
    const flags = bytes[at] ?? 0;
    const isLong = (flags & FLAG_LONG) !== 0;
    const headerBytes = isLong ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES;
    if (end - at < headerBytes) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, headerBytes);
    const totalBytes = headerBytes + (isLong ? Number(view.getBigUint64(1)) : view.getUint8(1));
    if ((flags & FLAG_COMMAND) !== 0) return noMessage(totalBytes);
    const nul = bytes.indexOf(0, at + headerBytes);
    if (nul < 0 || nul >= end) return undefined;
    const bodyAt = nul + 1 - at;
    const lengthAt = isLong ? LONG_LENGTH_AT : 0;
    return { totalBytes, bodyAt, bodyBytes: totalBytes - bodyAt, lengthAt };
  },
};

/** Where subscribers connect, if publishers do at `address`. */
export function zeromqSubscribersPath(address: string): string {
  return `${address}.out`;
}
