/** The check that every benchmark relies on: it must see each way in which messages can go wrong. */

import { describe, expect, test } from "bun:test";
import {
  buildEnd,
  buildRing,
  MessageCheck,
  messagesPerPacket,
  RING_PACKETS,
  ringMessages,
} from "../../bench/message-ring.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";

const MESSAGE_BYTES = 64;
const PACKET_BYTES = 240;
const RING = ringMessages(MESSAGE_BYTES, PACKET_BYTES);

function checkOfRing(): { check: MessageCheck; packets: ReturnType<typeof buildRing> } {
  const check = new MessageCheck(MESSAGE_BYTES, RING);
  return { check, packets: buildRing([7, 8], MESSAGE_BYTES, PACKET_BYTES) };
}

describe("buildRing()", () => {
  test("fills packets with whole messages and takes topics in turn", () => {
    const { packets } = checkOfRing();
    expect(messagesPerPacket(MESSAGE_BYTES, PACKET_BYTES)).toBe(3);
    expect(packets.length).toBe(RING_PACKETS);
    const words = packets[0]?.buffer.words ?? new Uint32Array();
    expect([words[2], words[22], words[42]]).toEqual([7, 8, 7]);
    expect([words[4], words[24], words[44]]).toEqual([0, 1, 2]);
  });
});

describe("MessageCheck", () => {
  test("counts two rounds of the ring and takes the right end", () => {
    const { check, packets } = checkOfRing();
    for (const { buffer, bytes } of [...packets, ...packets]) {
      check.takePacket(buffer.words, bytes);
    }
    expect(check.messages).toBe(2 * RING);
    expect(check.isEnded).toBe(false);
    const end = buildEnd(7, 2 * RING);
    check.takePacket(end.buffer.words, end.bytes);
    expect(check.isEnded).toBe(true);
  });

  test("takes the right end of a run that is too long for its four bytes", () => {
    const { check, packets } = checkOfRing();
    check.messages = 2 ** 32;
    const [first] = packets;
    check.takePacket(first?.buffer.words ?? new Uint32Array(), first?.bytes ?? 0);
    const end = buildEnd(7, check.messages);
    check.takePacket(end.buffer.words, end.bytes);
    expect(check.isEnded).toBe(true);
  });

  test("throws where a packet is missing", () => {
    const { check, packets } = checkOfRing();
    const [first, , third] = packets;
    check.takePacket(first?.buffer.words ?? new Uint32Array(), first?.bytes ?? 0);
    expect(() => check.takePacket(third?.buffer.words ?? new Uint32Array(), 80)).toThrow(
      "Got message 6, 64 bytes, wanted 3",
    );
  });

  test("throws for a repeated message and for a wrong length", () => {
    const { check } = checkOfRing();
    check.take(0, MESSAGE_BYTES);
    expect(() => check.take(0, MESSAGE_BYTES)).toThrow("wanted 1");
    expect(() => check.take(1, MESSAGE_BYTES - 1)).toThrow("63 bytes");
  });

  test("throws where whole rounds are missing at the end", () => {
    const { check } = checkOfRing();
    check.take(0, MESSAGE_BYTES);
    const end = buildEnd(7, 1 + RING);
    expect(() => check.takePacket(end.buffer.words, end.bytes)).toThrow("Got 1 of 49 messages");
  });

  test("throws for a gap that the relay reports", () => {
    const { check } = checkOfRing();
    const words = Uint32Array.of(16, OPCODE.GAP, 7, 0);
    expect(() => check.takePacket(words, 16)).toThrow("opcode 134");
  });
});
