/** A raw client of a peer against a stand-in that speaks its protocol: the check sees what goes wrong. */

import { afterEach, describe, expect, test } from "bun:test";
import { MessageCheck, ringMessages } from "../../../bench/message-ring.ts";
import { natsDialect } from "../../../bench/peers/nats-dialect.ts";
import { buildPeerEnd, buildPeerRing, PeerWalk } from "../../../bench/peers/peer-ring.ts";
import { PeerStream } from "../../../bench/peers/peer-stream.ts";
import { openStreamPair } from "../../../bench/peers/stream-socket.ts";
import { SampleFds } from "../../../bench/sample-fds.ts";

const SHAPE = { messageBytes: 32, packetBytes: 480, fds: 0, source: 0 };
const RING = ringMessages(SHAPE.messageBytes, SHAPE.packetBytes);

/** What NATS would make of a publisher's bytes. */
function delivered(published: Uint8Array): Uint8Array {
  const text = Buffer.from(published).toString("latin1");
  return Buffer.from(text.replaceAll(/PUB (\S+) (\d+)/g, "MSG $1 1 $2"), "latin1");
}

function publishedRing(): Uint8Array {
  const packets = buildPeerRing(natsDialect, ["a.0", "a.1"], SHAPE);
  return Buffer.concat(packets.map(({ buffer, bytes }) => buffer.bytes.subarray(0, bytes)));
}

function publishedEnd(messages: number): Uint8Array {
  const { buffer, bytes } = buildPeerEnd(natsDialect, "a.0", messages, 0);
  return buffer.bytes.subarray(0, bytes);
}

const open: PeerStream[] = [];

afterEach(() => {
  for (const stream of open.splice(0)) stream.close();
});

/** Sends bytes to a walking client in pieces. */
function walk(bytes: Uint8Array, pieceBytes: number): MessageCheck {
  const [fd, peerFd] = openStreamPair();
  const [stream, peer] = [new PeerStream(fd), new PeerStream(peerFd)];
  open.push(stream, peer);
  const check = new MessageCheck(SHAPE.messageBytes, RING);
  const walker = new PeerWalk(stream, natsDialect, check, { fds: 0, readsAll: true });
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    peer.say(bytes.subarray(at, at + pieceBytes));
    stream.receive();
    walker.takeMessages();
  }
  return check;
}

/** Sends messages one by one, each with fds of its packet, to a client that wants so many. */
function walkWithFds(messages: number, fds: number, wanted: number): MessageCheck {
  const [fd, peerFd] = openStreamPair();
  const [stream, peer] = [new PeerStream(fd, { takesFds: true }), new PeerStream(peerFd)];
  open.push(stream, peer);
  using samples = new SampleFds(fds);
  const shape = { ...SHAPE, packetBytes: SHAPE.messageBytes, fds };
  const packets = buildPeerRing(natsDialect, ["a.0"], shape);
  const check = new MessageCheck(SHAPE.messageBytes, packets.length);
  const walker = new PeerWalk(stream, natsDialect, check, { fds: wanted, readsAll: true });
  for (let at = 0; at < messages; at += 1) {
    const packet = packets[at % packets.length];
    if (packet === undefined) break;
    const bytes = delivered(packet.buffer.bytes.subarray(0, packet.bytes));
    // Now and then a part comes first, and the next read goes behind it.
    const part = at % 3 === 0 ? 5 : bytes.byteLength;
    peer.say(bytes.subarray(0, part), samples.of(at % packets.length));
    stream.receive();
    walker.takeMessages();
    if (part === bytes.byteLength) continue;
    peer.say(bytes.subarray(part));
    stream.receive();
    walker.takeMessages();
  }
  return check;
}

describe("PeerWalk", () => {
  test.each([7, 100, 4_096])("counts every message, in pieces of %d bytes", (pieceBytes) => {
    const ring = publishedRing();
    const pings = Buffer.from("PING\r\n");
    const bytes = delivered(Buffer.concat([ring, pings, ring, publishedEnd(2 * RING)]));
    const check = walk(bytes, pieceBytes);
    expect(check.messages).toBe(2 * RING);
    expect(check.isEnded).toBe(true);
  });

  test("throws where a message is missing", () => {
    const ring = delivered(publishedRing());
    const messageBytes = Buffer.from(ring).indexOf("MSG", 1);
    const bytes = Buffer.concat([ring.subarray(0, messageBytes), ring.subarray(2 * messageBytes)]);
    expect(() => walk(bytes, 4_096)).toThrow("Got message 2, 32 bytes, wanted 1");
  });

  test("throws where the end tells of more messages than came", () => {
    const bytes = delivered(Buffer.concat([publishedRing(), publishedEnd(RING + 1)]));
    expect(() => walk(bytes, 4_096)).toThrow(`Got ${RING} of ${RING + 1} messages`);
  });

  test.each([0, 0x5b, 0xff])("throws where a body has a byte %d that was not sent", (byte) => {
    const bytes = delivered(publishedRing());
    bytes[Buffer.from(bytes).indexOf("\n") + 1 + SHAPE.messageBytes - 1] = byte;
    expect(() => walk(bytes, 4_096)).toThrow("Got a body that was not sent");
  });

  test.each([1, 2])("takes the fds of each message, %d of them, in their order", (fds) => {
    expect(walkWithFds(200, fds, fds).messages).toBe(200);
  });

  test("throws where a message comes without its fds, or with those of another", () => {
    expect(() => walkWithFds(1, 1, 2)).toThrow("Message 0 had 1 fds, wanted 2");
    expect(() => walkWithFds(200, 2, 1)).toThrow("came with the fd of another");
  });
});
