import { beforeEach, describe, expect, test } from "bun:test";
import { GapLedger, SEVERAL_TOPICS } from "../../../../src/broker/sending/gap-ledger.ts";
import { GAP_TOPICS_MAX } from "../../../../src/broker/sending/limits.ts";
import { FrameBuffer } from "../frame-fixture.ts";

const frames = new FrameBuffer();
let ledger: GapLedger;

beforeEach(() => {
  ledger = new GapLedger();
});

/** Records one run with a message on each of these topics. */
function record(...topics: number[]): void {
  const messages = topics.map((topic, number) => ({ topic, number, bodyBytes: 4 + (number % 9) }));
  ledger.record(frames.buffer.words, 0, frames.messages(messages));
}

describe("GapLedger", () => {
  test("counts every message of a run by its topic", () => {
    record(3, 3, 4, 3);
    record(4);
    expect(ledger.take()).toEqual([
      [3, 3],
      [4, 2],
    ]);
  });

  test("counts from the middle of a packet", () => {
    const bytes = frames.messages([
      { topic: 1, number: 0, bodyBytes: 8 },
      { topic: 2, number: 0, bodyBytes: 8 },
      { topic: 3, number: 0, bodyBytes: 8 },
    ]);
    ledger.record(frames.buffer.words, bytes / 3, bytes / 3);
    expect(ledger.take()).toEqual([[2, 1]]);
  });

  test("starts again at none after take()", () => {
    record(1);
    expect(ledger.isEmpty).toBe(false);
    ledger.take();
    expect(ledger.isEmpty).toBe(true);
    expect(ledger.take()).toEqual([]);
  });

  test("counts topics beyond GAP_TOPICS_MAX together", () => {
    for (let topic = 1; topic <= GAP_TOPICS_MAX + 5; topic += 1) record(topic);
    record(1);
    const losses = new Map(ledger.take());
    expect(losses.size).toBe(GAP_TOPICS_MAX + 1);
    expect(losses.get(1)).toBe(2);
    expect(losses.get(SEVERAL_TOPICS)).toBe(5);
  });

  test("forgetTopic() keeps the count and drops the name", () => {
    record(1, 1, 2);
    ledger.forgetTopic(1);
    ledger.forgetTopic(9);
    ledger.forgetTopic(SEVERAL_TOPICS);
    expect(new Map(ledger.take())).toEqual(
      new Map([
        [2, 1],
        [SEVERAL_TOPICS, 2],
      ]),
    );
  });
});
