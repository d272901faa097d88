/** What waits does not keep the packets of what does not. */

import { describe, expect, test } from "bun:test";
import { Message } from "../../../src/client/message.ts";
import { PacketLeavings, PacketThrift } from "../../../src/client/packet-thrift.ts";
import { ReceivedFds } from "../../../src/client/received-fds.ts";
import { ENCODING } from "../../../src/protocol/opcodes.ts";
import { SENDER } from "./sender-fixture.ts";

const PACKET_BYTES = 10_000;

/** So many messages of 84 bytes, which with their headers are 1 % of the packet each. */
function messagesOf(count: number, first = 0): Message[] {
  const packet = new Uint8Array(PACKET_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const start = index * 100 + 16;
    packet.fill(first + index, start, start + 84);
    const { NONE } = ReceivedFds;
    return new Message("a", SENDER, ENCODING.BYTES, packet, start, start + 84, NONE, 0);
  });
}

function contentsOf(messages: readonly Message[]): number[][] {
  return messages.map(({ bytes }) => [...new Set(bytes)]);
}

describe("PacketThrift", () => {
  test("copies a few messages out of their packet, into memory of their size", () => {
    const thrift = new PacketThrift();
    const few = messagesOf(3);
    for (const message of [...few, ...messagesOf(1, 50)]) thrift.note(message);
    expect(few.map(({ packetBytes }) => packetBytes)).toEqual([252, 252, 252]);
    expect(contentsOf(few)).toEqual([[0], [1], [2]]);
    expect(few.map(({ byteLength }) => byteLength)).toEqual([84, 84, 84]);
  });

  test("leaves messages where they are that are half of their packet", () => {
    const thrift = new PacketThrift();
    const half = messagesOf(50);
    const less = messagesOf(49, 100);
    for (const message of [...half, ...less, ...messagesOf(1)]) thrift.note(message);
    expect(new Set(half.map(({ packetBytes }) => packetBytes))).toEqual(new Set([PACKET_BYTES]));
    expect(new Set(less.map(({ packetBytes }) => packetBytes))).toEqual(new Set([49 * 84]));
    expect(contentsOf(less.slice(-2))).toEqual([[147], [148]]);
  });

  test("copies messages of one packet for two queues without harm to either", () => {
    const [one, other] = [new PacketThrift(), new PacketThrift()];
    const shared = messagesOf(4, 7);
    for (const message of shared) {
      one.note(message);
      other.note(message);
    }
    const next = messagesOf(1);
    one.note(next[0] as Message);
    other.note(next[0] as Message);
    expect(contentsOf(shared)).toEqual([[7], [8], [9], [10]]);
  });

  test("leaves what bytes gave before as it was", () => {
    const thrift = new PacketThrift();
    const [message] = messagesOf(1, 5);
    const before = message?.bytes;
    for (const each of [message as Message, ...messagesOf(1)]) thrift.note(each);
    expect([message?.packetBytes, before?.byteLength, before?.[0]]).toEqual([84, 84, 5]);
  });
});

describe("PacketLeavings", () => {
  /** Notes messages, and empties some of their places. */
  function note(leavings: PacketLeavings, messages: readonly Message[], gone: readonly number[]) {
    const places = messages.map((message) => {
      const place: { message: Message | undefined } = { message };
      leavings.note(message, place);
      return place;
    });
    for (const index of gone)
      (places[index] as { message: Message | undefined }).message = undefined;
  }

  test("copies what still waits out of its packet when the next one comes", () => {
    const leavings = new PacketLeavings();
    const messages = messagesOf(4, 9);
    note(leavings, messages, [0, 2]);
    expect(messages.map(({ packetBytes }) => packetBytes)).toEqual(Array(4).fill(PACKET_BYTES));
    note(leavings, messagesOf(1), []);
    const bytes = messages.map(({ packetBytes }) => packetBytes);
    expect(bytes).toEqual([PACKET_BYTES, 84, PACKET_BYTES, 84]);
    expect(contentsOf(messages)).toEqual([[9], [10], [11], [12]]);
  });

  test("looks at what waits once, however many packets come", () => {
    const leavings = new PacketLeavings();
    const [message] = messagesOf(1) as [Message];
    note(leavings, [message], []);
    note(leavings, messagesOf(1), []);
    const copy = message.bytes.buffer;
    note(leavings, messagesOf(1), []);
    expect(message.bytes.buffer).toBe(copy);
  });

  test("leaves a message where it is that is half of its packet", () => {
    const leavings = new PacketLeavings();
    const { NONE } = ReceivedFds;
    const packet = new Uint8Array(100);
    const message = new Message("a", SENDER, ENCODING.BYTES, packet, 16, 100, NONE, 0);
    note(leavings, [message, ...messagesOf(1)], []);
    expect(message.packetBytes).toBe(100);
  });
});
