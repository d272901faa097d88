/** A raw client of a peer against a stand-in that speaks its protocol: the check sees what goes wrong. */

import { afterEach, describe, expect, test } from "bun:test";
import { MessageCheck, ringMessages } from "../../../bench/message-ring.ts";
import { natsDialect } from "../../../bench/peers/nats-dialect.ts";
import { buildPeerEnd, buildPeerRing, PeerWalk } from "../../../bench/peers/peer-ring.ts";
import { PeerStream } from "../../../bench/peers/peer-stream.ts";
import { openStreamPair } from "../../../bench/peers/stream-socket.ts";

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

  test("throws where a body is not what was sent", () => {
    const bytes = delivered(publishedRing());
    bytes[Buffer.from(bytes).indexOf("\n") + 1 + SHAPE.messageBytes - 1] = 0xff;
    expect(() => walk(bytes, 4_096)).toThrow("Got a body that was not sent");
  });
});
