/** The check of several publishers' messages: each source on its own. */

import { describe, expect, test } from "bun:test";
import { buildEnd } from "../../bench/message-ring.ts";
import { SourcesCheck } from "../../bench/sources-check.ts";

const MESSAGE_BYTES = 64;
const RING = 100;
const SOURCES = 2;

function checkWith(...messages: readonly (readonly [number: number, source: number])[]) {
  const check = new SourcesCheck(MESSAGE_BYTES, RING, SOURCES);
  for (const [number, source] of messages) check.take(number, MESSAGE_BYTES, source);
  return check;
}

function takeEnd(check: SourcesCheck, messages: number, source: number): void {
  const { buffer, bytes } = buildEnd(7, messages, source);
  check.takePacket(buffer.words, bytes);
}

describe("SourcesCheck", () => {
  test("counts the messages of each source, however they are mixed", () => {
    const check = checkWith([0, 0], [0, 1], [1, 1], [2, 1], [1, 0]);
    expect(check.messages).toBe(5);
    expect([0, 1, 2].map((source) => check.messagesOf(source))).toEqual([2, 3, 0]);
  });

  test("is ended when the end of every source has come, not before", () => {
    const check = checkWith([0, 0], [0, 1], [1, 1]);
    takeEnd(check, 1, 0);
    expect(check.isEnded).toBe(false);
    takeEnd(check, 2, 1);
    expect(check.isEnded).toBe(true);
    expect(check.messages).toBe(3);
  });

  test("throws where a source lost a message that another one has", () => {
    expect(() => checkWith([0, 0], [1, 1])).toThrow("Got message 1");
    expect(() => checkWith([0, 0], [1, 0], [1, 0])).toThrow("Got message 1");
  });

  test("throws where the end of a source tells of more than there were", () => {
    const check = checkWith([0, 0], [0, 1]);
    expect(() => takeEnd(check, 2, 1)).toThrow("Got 1 of 2 messages");
  });

  test("throws where a message is of nobody, or of another length", () => {
    expect(() => checkWith([0, 2])).toThrow("source 2, which is none");
    const check = new SourcesCheck(MESSAGE_BYTES, RING, SOURCES);
    expect(() => check.take(0, MESSAGE_BYTES - 1, 0)).toThrow("63 bytes");
  });
});
