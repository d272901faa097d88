import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { PacketRuns, TOO_LARGE } from "../../../../src/broker/routing/packet-runs.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import { ProtocolError } from "../../../../src/errors.ts";
import { ConnectionBench } from "../connection-fixture.ts";
import { FrameBuffer } from "../frame-fixture.ts";

const BODY_BYTES = 8;
const FRAME_BYTES = 24;
const SENDER_ID = 7;

const frames = new FrameBuffer();
let runs: PacketRuns;
let sender: Connection;

beforeEach(() => {
  runs = new PacketRuns();
  sender = new ConnectionBench().connect(SENDER_ID);
  for (const id of [1, 2]) open(id, 1_024);
});

function open(id: number, messageBytesMax: number): void {
  sender.openTopics.set(id, {
    topic: new Topic(id, `topic.${id}`),
    mayPublish: true,
    messageBytesMax,
    sendFds: { allowed: false, rule: undefined },
    introducedTo: undefined,
  });
}

/** Builds a packet of messages on these topics. @returns its bytes */
function build(topics: readonly number[], bodyBytes = BODY_BYTES): number {
  return frames.messages(topics.map((topic, number) => ({ topic, number, bodyBytes })));
}

/** The runs found, as [topic id, first byte, byte behind the last, messages]. */
function found(): number[][] {
  return Array.from({ length: runs.count }, (_, run) => [
    runs.topicOf(run).topic.id,
    runs.startOf(run),
    runs.endOf(run),
    runs.messagesOf(run),
  ]);
}

describe("PacketRuns.find()", () => {
  test("makes a run of each change of topic", () => {
    const bytes = build([1, 1, 1, 2, 2, 1]);
    expect(runs.find(sender, frames.buffer.words, 0, bytes)).toBe(bytes);
    expect(found()).toEqual([
      [1, 0, 3 * FRAME_BYTES, 3],
      [2, 3 * FRAME_BYTES, 5 * FRAME_BYTES, 2],
      [1, 5 * FRAME_BYTES, 6 * FRAME_BYTES, 1],
    ]);
  });

  test("stamps the sender's id on each message", () => {
    const bytes = build([1, 2, 1]);
    runs.find(sender, frames.buffer.words, 0, bytes);
    const origins = [0, 1, 2].map((index) => frames.buffer.words[(index * FRAME_BYTES) / 4 + 3]);
    expect(origins).toEqual([SENDER_ID, SENDER_ID, SENDER_ID]);
  });

  test("begins and ends where it is told", () => {
    build([1, 1, 2, 2]);
    const end = 3 * FRAME_BYTES;
    expect(runs.find(sender, frames.buffer.words, FRAME_BYTES, end)).toBe(end);
    expect(found()).toEqual([
      [1, FRAME_BYTES, 2 * FRAME_BYTES, 1],
      [2, 2 * FRAME_BYTES, end, 1],
    ]);
  });

  test("keeps a message that is too large out of the runs beside it", () => {
    open(2, BODY_BYTES - 1);
    const bytes = build([1, 2, 2, 1]);
    expect(runs.find(sender, frames.buffer.words, 0, bytes)).toBe(bytes);
    expect(found()).toEqual([
      [1, 0, FRAME_BYTES, 1],
      [2, FRAME_BYTES, 2 * FRAME_BYTES, TOO_LARGE],
      [2, 2 * FRAME_BYTES, 3 * FRAME_BYTES, TOO_LARGE],
      [1, 3 * FRAME_BYTES, 4 * FRAME_BYTES, 1],
    ]);
  });

  test("stops at a frame that does not end inside the stretch", () => {
    const bytes = build([1, 1]);
    expect(runs.find(sender, frames.buffer.words, 0, bytes - 8)).toBe(FRAME_BYTES);
    expect(found()).toEqual([[1, 0, FRAME_BYTES, 1]]);
  });

  test("stops at a frame with fds", () => {
    const bytes = frames.messages([
      { topic: 1, number: 0, bodyBytes: BODY_BYTES },
      { topic: 1, number: 1, bodyBytes: BODY_BYTES, fdCount: 1 },
    ]);
    expect(runs.find(sender, frames.buffer.words, 0, bytes)).toBe(FRAME_BYTES);
    expect(runs.count).toBe(1);
  });

  test("throws PROTOCOL_TOPIC_ID for a topic that is not open", () => {
    const bytes = build([1, 3]);
    const find = () => runs.find(sender, frames.buffer.words, 0, bytes);
    expect(find).toThrow(ProtocolError);
    expect(find).toThrow("Cannot use topic at byte 24");
  });

  test("forgets the runs of the packet before", () => {
    runs.find(sender, frames.buffer.words, 0, build([1, 2, 1, 2]));
    runs.find(sender, frames.buffer.words, 0, build([2]));
    expect(found()).toEqual([[2, 0, FRAME_BYTES, 1]]);
  });
});
