/** Who waits for whom, and how long a subscriber has done nothing about it. */

import { expect, test } from "bun:test";
import { HeldPublishers } from "../../../../src/broker/reading/held-publishers.ts";
import type { PacketRest } from "../../../../src/broker/reading/packet-rests.ts";
import { ConnectionBench } from "../connection-fixture.ts";

function heldByOne() {
  const bench = new ConnectionBench();
  const [publisher, subscriber] = [bench.connect(1), bench.connect(2)];
  const table = new HeldPublishers();
  const rest = {} as PacketRest;
  const route = undefined;
  const hold = (since: number) =>
    table.hold(publisher, { rest, by: [subscriber], topic: "t", route, since, isTold: false });
  return { table, subscriber, hold };
}

test("HeldPublishers.stalledMs() counts from when the publisher came to wait", () => {
  const { table, subscriber, hold } = heldByOne();
  expect(table.stalledMs(subscriber, 0)).toBe(-1);
  hold(1_000);
  expect(table.stalledMs(subscriber, 1_000)).toBe(0);
  expect(table.stalledMs(subscriber, 9_000)).toBe(8_000);
});

test("HeldPublishers.stalledMs() counts anew from when the subscriber was at work", () => {
  const { table, subscriber, hold } = heldByOne();
  table.noteMoved(subscriber, 500);
  hold(1_000);
  table.noteMoved(subscriber, 8_000);
  expect(table.stalledMs(subscriber, 9_000)).toBe(1_000);
  expect(table.stalledMs(subscriber, 20_000)).toBe(12_000);
});
