import { describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { GroupDelivery } from "../../../../src/broker/routing/group-delivery.ts";
import { GroupTopic } from "../../../../src/broker/routing/topic-table.ts";
import { SEND_QUEUE_BYTES_MAX } from "../../../../src/broker/sending/limits.ts";
import { ACCEPTED, QUEUE_FULL } from "../../../../src/broker/sending/queue-outcomes.ts";
import { OPCODE } from "../../../../src/protocol/opcodes.ts";
import { ConnectionBench } from "../connection-fixture.ts";
import { FrameBuffer, gapCountOf, numberOf } from "../frame-fixture.ts";

const PLAIN_ID = 3;
const GROUP_ID = 9;

/** A group of members with nothing to read, on a simulated kernel. */
function groupOf(count: number) {
  const bench = new ConnectionBench();
  const frames = new FrameBuffer();
  const sender = bench.connect(1);
  const members = Array.from({ length: count }, (_, index) => bench.connect(index + 2));
  const unread = new Map<Connection, number>();
  const outcomes = new Map<number, number>();
  const delivery = new GroupDelivery({
    unreadBytes: (connection) => unread.get(connection) ?? 0,
    settle: (_sender, _member, outcome, messages) =>
      void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + messages),
  });
  const group = { topic: new GroupTopic(GROUP_ID, "a", "g"), members, isBlocking: false };
  const publish = (first: number, messages: number, bodyBytes = 8, from = sender): void => {
    const end = frames.messages(
      Array.from({ length: messages }, (_, index) => ({
        topic: PLAIN_ID,
        number: first + index,
        bodyBytes,
      })),
    );
    delivery.deliverRun(from, group, frames.buffer, { start: 0, end, messages });
  };
  return { bench, members, unread, outcomes, publish };
}

describe("GroupDelivery.deliverRun()", () => {
  test("shares a run out evenly among equals, each message once and in order", () => {
    const { bench, members, publish } = groupOf(4);
    publish(0, 100);
    const parts = members.map((member) => bench.framesTo(member));
    expect(parts.map((part) => part.length)).toEqual([25, 25, 25, 25]);
    expect(parts.flat().every(({ id }) => id === GROUP_ID)).toBe(true);
    const numbers = parts.map((part) => part.map(numberOf));
    for (const part of numbers) expect(part).toEqual(part.toSorted((a, b) => a - b));
    expect(new Set(numbers.flat()).size).toBe(100);
  });

  test("gives a member that pauses its own messages, rather than another one that pauses", () => {
    const { bench, members, publish } = groupOf(2);
    const [self, other] = members as [Connection, Connection];
    for (const member of members) member.wantsPause = true;
    publish(0, 4, 8, self);
    expect([bench.framesTo(self).length, bench.framesTo(other).length]).toEqual([4, 0]);
  });

  test("takes turns with single messages", () => {
    const { bench, members, publish } = groupOf(3);
    for (let number = 0; number < 6; number += 1) {
      publish(number, 1);
      for (const member of members) member.queue.flush();
    }
    expect(members.map((member) => bench.framesTo(member).map(numberOf))).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ]);
  });

  test("prefers whoever has the least to read", () => {
    const { bench, members, unread, publish } = groupOf(3);
    const [busy, idle, other] = members as [Connection, Connection, Connection];
    unread.set(busy, 50_000);
    unread.set(other, 20_000);
    publish(0, 30);
    expect(bench.framesTo(busy)).toHaveLength(0);
    expect(bench.framesTo(idle)).toHaveLength(30);
  });

  test("passes over a blocked member, uses it where all are, and tells a loss where none has room", () => {
    const { bench, members, outcomes, publish } = groupOf(2);
    const [first, second] = members as [Connection, Connection];
    bench.socketOf(first).capacity = 0;
    publish(0, 1, 60_000);
    publish(1, 1, 60_000);
    publish(2, 1, 60_000);
    expect(bench.framesTo(second).map(numberOf)).toEqual([1, 2]);
    bench.socketOf(second).capacity = 0;
    let number = 3;
    while ((outcomes.get(QUEUE_FULL) ?? 0) === 0) {
      publish(number, 1, 60_000);
      number += 1;
    }
    const waiting = first.queue.queuedBytes + second.queue.queuedBytes;
    expect(waiting).toBeGreaterThan(2 * (SEND_QUEUE_BYTES_MAX - 70_000));
    for (const member of members) {
      bench.socketOf(member).capacity = Number.POSITIVE_INFINITY;
    }
    const frames = members.flatMap((member) => bench.framesTo(member));
    const gaps = frames.filter(({ opcode }) => opcode === OPCODE.GAP);
    expect(gaps.map((gap) => [gap.id, gapCountOf(gap)])).toEqual([[GROUP_ID, 1]]);
    expect(frames.length - 1 + 2).toBe(outcomes.get(ACCEPTED) ?? 0);
  });
});
