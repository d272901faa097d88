/** What is missing in a full queue: told by topic, in its place, and never by memory that grows. */

import { describe, expect, test } from "bun:test";
import { LargeBody } from "../../../src/client/large-body.ts";
import { Message } from "../../../src/client/message.ts";
import { MessageQueue } from "../../../src/client/message-queue.ts";
import { ReceivedFds } from "../../../src/client/received-fds.ts";
import { duplicateFd } from "../../../src/ffi/owned-fd.ts";
import { ENCODING } from "../../../src/protocol/opcodes.ts";
import type { OverflowPolicy } from "../../../src/protocol/words.ts";
import { TestFiles } from "../../support/test-files.ts";
import { SENDER } from "./sender-fixture.ts";

const MIB = 1024 * 1024;

function message(number: number, topic: string): Message {
  const body = Uint8Array.of(number);
  return new Message(topic, SENDER, ENCODING.BYTES, body, 0, 1, ReceivedFds.NONE, 0);
}

function bodyOf(bytes: number, topic: string): Message {
  const body = new Uint8Array(bytes);
  return new Message(topic, SENDER, ENCODING.BYTES, body, 0, bytes, ReceivedFds.NONE, 0);
}

function queueOf(max: number, overflow: OverflowPolicy, bytesMax = 256 * MIB) {
  const dropped: string[] = [];
  const queue = new MessageQueue<unknown>({ messagesMax: max, bytesMax }, overflow, true, (topic) =>
    dropped.push(topic),
  );
  const push = (topics: string) => {
    for (const topic of topics) queue.push(message(0, topic));
  };
  /** Topics of messages, and gaps as "-topic count" in their places. */
  const rest = () => {
    const story: string[] = [];
    for (;;) {
      const gap = queue.takeGap();
      const next = gap === undefined ? queue.shift() : undefined;
      if (gap !== undefined) story.push(`-${gap.topic ?? "?"} ${gap.count}`);
      else if (next !== undefined) story.push(next.topic);
      else return story;
    }
  };
  return { queue, push, rest, dropped };
}

describe("MessageQueue", () => {
  test("tells each topic's losses apart, with drop-newest", () => {
    const { push, rest, dropped } = queueOf(2, "drop-newest");
    push("aabcb");
    expect(dropped).toEqual(["b", "c", "b"]);
    expect(rest()).toEqual(["a", "a", "-b 2", "-c 1"]);
  });

  test("tells each topic's losses apart, with drop-oldest", () => {
    const { push, rest } = queueOf(2, "drop-oldest");
    push("abacd");
    expect(rest()).toEqual(["-a 2", "-b 1", "c", "d"]);
  });

  test("keeps a gap in its place where the message behind it is superseded", () => {
    const { queue, push, rest } = queueOf(3, "latest-per-topic");
    push("x");
    queue.note({ topic: "y", count: 5, reason: "send-queue-full" });
    push("a");
    push("y");
    push("a");
    expect(rest()).toEqual(["x", "-y 5", "y", "-a 1", "a"]);
  });

  test("keeps a gap in its place where the first message is dropped", () => {
    const { queue, push, rest } = queueOf(2, "latest-per-topic");
    push("a");
    queue.note({ topic: "z", count: 5, reason: "send-queue-full" });
    push("babcd");
    expect(rest()).toEqual(["-z 5", "-a 1", "-a 1", "-b 1", "-b 1", "c", "d"]);
  });

  test("counts beyond GAP_TOPICS_MAX topics without their names", () => {
    const { queue, rest } = queueOf(1, "drop-newest");
    for (let number = 0; number < 101; number += 1) queue.push(message(0, `t${number}`));
    const story = rest();
    expect(story).toHaveLength(1 + 64 + 1);
    expect(story.at(-1)).toBe("-? 36");
  });

  test("stays small where one topic is superseded again and again, and nobody reads", () => {
    const queue = new MessageQueue<unknown>(
      { messagesMax: 2, bytesMax: 256 * MIB },
      "latest-per-topic",
      true,
    );
    queue.push(message(0, "b"));
    const before = heapBytes();
    for (let number = 0; number < 300_000; number += 1) queue.push(message(0, "a"));
    expect(heapBytes() - before).toBeLessThan(4 * MIB);
    expect([queue.size, queue.shift()?.topic]).toEqual([2, "b"]);
    expect(queue.takeGap()).toEqual({ topic: "a", count: 299_999, reason: "superseded" });
  });

  test("is full at bytesMax, whatever the number of messages", () => {
    const { queue, rest, dropped } = queueOf(100, "drop-newest", 10);
    for (const [topic, bytes] of [
      ["a", 4],
      ["b", 4],
      ["c", 4],
      ["d", 2],
      ["e", 1],
    ] as const) {
      queue.push(bodyOf(bytes, topic));
    }
    expect([queue.bytes, queue.isFull, dropped]).toEqual([10, true, ["c", "e"]]);
    expect(rest()).toEqual(["a", "b", "-c 1", "d", "-e 1"]);
    expect([queue.bytes, queue.isFull, queue.isLow]).toEqual([0, false, true]);
  });

  test("takes one message of any length where nothing waits", () => {
    const { queue, rest } = queueOf(100, "drop-oldest", 10);
    queue.push(bodyOf(4, "a"));
    queue.push(bodyOf(400, "b"));
    queue.push(bodyOf(1, "c"));
    expect(rest()).toEqual(["-a 1", "-b 1", "c"]);
  });

  test("keeps one message of each topic from the first one on, with latest-per-topic", () => {
    const { queue, push, rest } = queueOf(100_000, "latest-per-topic");
    for (let number = 0; number < 1_000; number += 1) queue.push(message(number % 256, "a"));
    push("b");
    expect([queue.size, queue.bytes]).toEqual([2, 2]);
    expect(queue.takeGap()).toEqual({ topic: "a", count: 999, reason: "superseded" });
    expect(queue.shift()?.bytes[0]).toBe(999 % 256);
    push("aab");
    expect(rest()).toEqual(["-a 1", "a", "-b 1", "b"]);
  });

  test("supersedes nothing that was taken", () => {
    const { queue, push, dropped } = queueOf(100, "latest-per-topic");
    for (let round = 0; round < 3; round += 1) {
      push("a");
      expect(queue.shift()?.topic).toBe("a");
    }
    expect([queue.size, dropped]).toEqual([0, []]);
  });

  test("supersedes before it drops anything for want of room", () => {
    const { queue, push, dropped } = queueOf(100, "latest-per-topic", 8);
    for (const topic of "abcd") queue.push(bodyOf(2, topic));
    queue.push(bodyOf(2, "c"));
    expect(dropped).toEqual(["c"]);
    push("d");
    expect([queue.size, queue.bytes]).toEqual([4, 7]);
    queue.push(bodyOf(4, "e"));
    expect(dropped).toEqual(["c", "d", "a", "b"]);
  });

  test("keeps no packet for the few messages of it that stay", () => {
    const { queue } = queueOf(50, "latest-per-topic");
    for (let number = 0; number < 200; number += 1) {
      const packet = new Uint8Array(MIB / 4);
      for (let at = 0; at < packet.byteLength; at += MIB / 64) {
        const rare = number === 0 ? "once" : `t${number % 40}`;
        const [topic, end] = [at === 0 ? rare : "busy", at + MIB / 64];
        queue.push(
          new Message(topic, SENDER, ENCODING.BYTES, packet, at, end, ReceivedFds.NONE, 0),
        );
      }
    }
    expect(queue.size).toBe(42);
    // Of the latest packet more may come.
    const sizes = Array.from({ length: 42 }, () => queue.shift()?.packetBytes);
    expect(sizes.slice(0, -2)).toEqual(Array(40).fill(MIB / 64));
  });

  test("drops as many of the oldest as a large body needs", () => {
    using files = new TestFiles([""]);
    const { queue, push, dropped } = queueOf(100, "drop-oldest");
    push("aa");
    for (const topic of ["b", "c", "d", "e", "f"]) {
      const body = new LargeBody(duplicateFd(files.fds[0] ?? -1), 64 * MIB);
      queue.push(Message.large(topic, SENDER, ENCODING.BYTES, body, ReceivedFds.NONE, 0, false));
    }
    expect(dropped).toEqual(["a", "a", "b"]);
    queue.clear();
  });
});

function heapBytes(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}
