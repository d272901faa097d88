/**
 * MQTT 3.1.1 with QoS 0. A topic's dots become slashes.
 * @see MQTT Version 3.1.1, OASIS Standard
 */

import { type Dialect, noMessage, type PeerIntent } from "./dialect.ts";
import type { PeerStream } from "./peer-stream.ts";

const PACKET = { CONNECT: 0x10, CONNACK: 0x20, PUBLISH: 0x30, SUBSCRIBE: 0x82, SUBACK: 0x90 };
const CONTINUES = 0x80;
const LENGTH_BYTES_MAX = 4;
const CLEAN_SESSION = 0x02;
const PROTOCOL_LEVEL = 4;
const FILTERS_PER_PACKET = 100;
const QOS_0 = Buffer.from([0]);

/** One request at a time is under way, so all may have the same. */
const PACKET_ID = Buffer.from([0, 1]);

/** A topic as MQTT writes it. */
export function mqttTopicOf(topic: string): string {
  return topic.replaceAll(".", "/");
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.byteLength >> 8, bytes.byteLength & 0xff]), bytes]);
}

function encodePacket(kind: number, ...parts: Uint8Array[]): Buffer {
  const length: number[] = [];
  let rest = parts.reduce((sum, part) => sum + part.byteLength, 0);
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? CONTINUES : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from([kind, ...length]), ...parts]);
}

function enter(stream: PeerStream, intent: PeerIntent): void {
  const flags = Buffer.from([PROTOCOL_LEVEL, CLEAN_SESSION, 0, 0]);
  stream.say(encodePacket(PACKET.CONNECT, encodeText("MQTT"), flags, encodeText("")));
  expectPacket(stream, PACKET.CONNACK);
  const { subscribe, isSeparate } = intent;
  const isPattern = subscribe.length > 1 && isSeparate !== true;
  const filters = isPattern ? ["bench/load/#"] : subscribe.map(mqttTopicOf);
  for (let from = 0; from < filters.length; from += FILTERS_PER_PACKET) {
    const some = filters.slice(from, from + FILTERS_PER_PACKET);
    const asked = some.flatMap((filter) => [encodeText(filter), QOS_0]);
    stream.say(encodePacket(PACKET.SUBSCRIBE, PACKET_ID, ...asked));
    expectPacket(stream, PACKET.SUBACK);
  }
}

function expectPacket(stream: PeerStream, kind: number): void {
  for (;;) {
    const { bytes } = stream.buffer;
    const layout = mqttDialect.readDelivery(bytes, stream.start, stream.end);
    if (layout !== undefined && stream.end - stream.start >= layout.totalBytes) {
      const got = bytes[stream.start];
      const isRefused = bytes[stream.start + layout.totalBytes - 1] !== 0;
      stream.start += layout.totalBytes;
      if (got === kind && !isRefused) return;
      throw new Error(`The MQTT broker answered with packet ${got}, wanted ${kind}`);
    }
    stream.receive();
  }
}

/** MQTT, publish and subscribe alone. */
export const mqttDialect: Dialect = {
  pauseMs: 0.2,
  enter,
  encodePublish: (topic, body) =>
    encodePacket(PACKET.PUBLISH, encodeText(mqttTopicOf(topic)), body),
  readDelivery(bytes, at, end) {
    let rest = 0;
    for (let index = 1; index <= LENGTH_BYTES_MAX; index += 1) {
      if (at + index >= end) return undefined;
      const byte = bytes[at + index] as number;
      rest += (byte & 0x7f) << (7 * (index - 1));
      if ((byte & CONTINUES) !== 0) continue;
      const headerBytes = 1 + index;
      const totalBytes = headerBytes + rest;
      if (bytes[at] !== PACKET.PUBLISH) return noMessage(totalBytes);
      if (at + headerBytes + 2 > end) return undefined;
      const topicAt = at + headerBytes;
      const topicBytes = ((bytes[topicAt] as number) << 8) | (bytes[topicAt + 1] as number);
      const bodyAt = headerBytes + 2 + topicBytes;
      return { totalBytes, bodyAt, bodyBytes: totalBytes - bodyAt, lengthAt: 0 };
    }
    throw new Error("The MQTT broker sent a packet whose length does not end");
  },
};
