/**
 * Overflow where a uid may have little waiting, by its policy or for its other connections: the
 * subscriber that asks for the newest gets it.
 */

import { expect, test } from "bun:test";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { OverflowPolicy } from "../../src/protocol/words.ts";
import { FLOOD_MESSAGES, flood, numberedPacket, numberOf } from "../support/numbered-flood.ts";
import { mapOf, RawClient } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";

const MIB = 1024 * 1024;

/** Lets everybody do everything. @param queuedBytes of one uid */
function policyOf(queuedBytes: number): string {
  return `
    [[rule]]
    topics = [">"]
    any = true
    allow = ["publish", "subscribe"]
    [limits]
    queued-bytes = ${queuedBytes}
  `;
}

/** Subscribes, lets a flood on these topics pass unread, and reads. @returns the last of each topic */
async function lastOfFlood(
  path: string,
  publisher: RawClient,
  { names, pattern, overflow }: { names: string[]; pattern: string; overflow: OverflowPolicy },
): Promise<Map<number, number>> {
  using slow = await RawClient.open(path);
  await slow.request(OPCODE.SUBSCRIBE, { pattern, overflow });
  const topics: number[] = [];
  for (const name of names) topics.push(await publisher.openTopic(name));
  await flood(publisher, topics, FLOOD_MESSAGES);
  await publisher.sync();
  const last = new Map<number, number>();
  for (let seen = 0; seen < FLOOD_MESSAGES; ) {
    const frame = await slow.next();
    if (frame.opcode === OPCODE.GAP) seen += Number(mapOf(frame)["count"]);
    if (frame.opcode !== OPCODE.MESSAGE) continue;
    last.set(frame.id, numberOf(frame));
    seen += 1;
  }
  return last;
}

const ASCENDING = (a: number, b: number) => a - b;

for (const overflow of ["drop-oldest", "latest-per-topic"] as const) {
  test(`${overflow} gives the newest where a uid may have 1 MiB waiting`, async () => {
    await using broker = await spawnBroker({ policy: policyOf(MIB) });
    using publisher = await RawClient.open(broker.path);
    const asked = { names: ["flood"], pattern: "flood", overflow };
    const last = await lastOfFlood(broker.path, publisher, asked);
    expect([...last.values()]).toEqual([FLOOD_MESSAGES - 1]);
  });

  test(`${overflow} gives the newest beside siblings that read nothing`, async () => {
    await using broker = await spawnBroker({ policy: policyOf(8 * MIB) });
    using publisher = await RawClient.open(broker.path);
    using siblings = new DisposableStack();
    for (let count = 0; count < 8; count += 1) {
      await siblings.use(await RawClient.open(broker.path)).subscribe("stalled");
    }
    await flood(publisher, [await publisher.openTopic("stalled")], FLOOD_MESSAGES);
    await publisher.sync();
    const asked = { names: ["flood"], pattern: "flood", overflow };
    const last = await lastOfFlood(broker.path, publisher, asked);
    expect([...last.values()]).toEqual([FLOOD_MESSAGES - 1]);
  });
}

test("latest-per-topic gives the newest of each of 200 topics within 1 MiB", async () => {
  await using broker = await spawnBroker({ policy: policyOf(MIB) });
  using publisher = await RawClient.open(broker.path);
  const names = Array.from({ length: 200 }, (_, index) => `sensor.${index}`);
  const asked = { names, pattern: "sensor.*", overflow: "latest-per-topic" as const };
  const last = await lastOfFlood(broker.path, publisher, asked);
  const newest = Array.from({ length: 200 }, (_, index) => FLOOD_MESSAGES - 200 + index);
  expect([...last.values()].sort(ASCENDING)).toEqual(newest);
});

test("drop-oldest gives the newest where each message has a topic of its own", async () => {
  await using broker = await spawnBroker({ policy: policyOf(MIB) });
  using publisher = await RawClient.open(broker.path);
  using slow = await RawClient.open(broker.path);
  await slow.request(OPCODE.SUBSCRIBE, { pattern: ">", overflow: "drop-oldest" });
  const count = 3_000;
  for (let number = 0; number < count; number += 1) {
    const topic = await publisher.openTopic(`event.${number}`);
    await publisher.sendEventually(numberedPacket([topic], number, 1));
  }
  expect(await publisher.sync()).toMatchObject({ delivered: count, dropped: 0 });
  let last = -1;
  let messages = 0;
  for (let seen = 0; seen < count; ) {
    const frame = await slow.next();
    if (frame.opcode === OPCODE.GAP) seen += Number(mapOf(frame)["count"]);
    if (frame.opcode !== OPCODE.MESSAGE) continue;
    last = numberOf(frame);
    messages += 1;
    seen += 1;
  }
  expect(last).toBe(count - 1);
  expect(messages).toBeLessThan(count);
});
