/** Overflow, queue groups and receipts together with calls, last values, presence and reconnecting. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { SEND_QUEUE_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import { type Bus, connect, type Gap, GapError } from "../../src/client/index.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { MortalBroker, rejectionOf } from "../support/mortal-broker.ts";
import { floodUntilHeld, NUMBERED_BODY_BYTES, numberedBody } from "../support/numbered-flood.ts";
import { packetOf, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

const MESSAGES_PER_PACKET = 32;
const PREFIX = new Uint8Array(8);

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

/** Messages and, in the middle of them, the last one as one that is to be kept. */
function packet(topic: number, first: number): Uint8Array {
  return packetOf((writer) => {
    for (let number = first; number < first + MESSAGES_PER_PACKET; number += 1) {
      const body = numberedBody(number);
      if (number % MESSAGES_PER_PACKET !== MESSAGES_PER_PACKET / 2) {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body);
      } else writer.append(OPCODE.RETAIN, 0, 0, topic, 0, Buffer.concat([PREFIX, body]));
    }
  });
}

const WITH_RETAINED = { messages: MESSAGES_PER_PACKET, from: packet };

describe("a message that is kept as a last value", () => {
  test("waits like others for a subscriber with block, and loses its place to none", async () => {
    using publisher = await RawClient.open(broker.path);
    using reader = await RawClient.open(broker.path);
    await reader.request(OPCODE.SUBSCRIBE, { pattern: "kept.block", overflow: "block" });
    const topic = await publisher.openTopic("kept.block");
    const sent = await floodUntilHeld(publisher, topic, WITH_RETAINED);
    expect(sent * NUMBERED_BODY_BYTES).toBeGreaterThan(SEND_QUEUE_BYTES_MAX / 2);
    const numbers: number[] = [];
    while (numbers.length < sent) {
      const frame = await reader.next();
      if (frame.opcode !== OPCODE.MESSAGE) continue;
      numbers.push(new DataView(frame.body.buffer, frame.body.byteOffset).getUint32(0, true));
    }
    expect(numbers).toEqual(Array.from({ length: sent }, (_, number) => number));
    await using later = await connect({ path: broker.path });
    const subscription = await later.subscribe("kept.block");
    const { value } = await subscription.next();
    const last = sent - MESSAGES_PER_PACKET / 2;
    const { buffer, byteOffset } = value.bytes;
    expect(new DataView(buffer, byteOffset).getUint32(0, true)).toBe(last);
  });
});

describe("a subscription that must lose nothing", () => {
  test("lets its program call and wait in the middle of it", async () => {
    await using server = await connect({ path: broker.path });
    await using bus = await connect({ path: broker.path });
    await server.serve("half", ({ data }) => Number(data) / 2);
    const work = await bus.subscribe("work", { overflow: "block", queueMessagesMax: 2 });
    for (let number = 0; number < 200; number += 1) server.publish("work", number);
    const halves: unknown[] = [];
    for await (const { data } of work) {
      await bus.waitFor("half");
      halves.push((await bus.call("half", data)).data);
      if (halves.length === 200) break;
    }
    expect(halves).toEqual(Array.from({ length: 200 }, (_, number) => number / 2));
  });
});

describe("a queue group on a topic of the bus", () => {
  test("gets each event once", async () => {
    await using first = await connect({ path: broker.path });
    await using second = await connect({ path: broker.path });
    const seen: unknown[] = [];
    for (const bus of [first, second]) {
      const onMessage = ({ data }: { data: unknown }) => void seen.push(data);
      await bus.subscribe("$bus.client.connected", { group: "watchers", onMessage });
    }
    for (let count = 0; count < 6; count += 1) await (await connect({ path: broker.path })).close();
    await eventually(() => seen.length >= 6, "the events came");
    await first.flush();
    await second.flush();
    expect(seen).toHaveLength(6);
  });
});

describe("a bus whose broker is started again", () => {
  test("tells the gap in its place, and is in its queue group again", async () => {
    await using mortal = await MortalBroker.start();
    const members = [await mortal.open(), await mortal.open()];
    const gaps: Gap[] = [];
    const counts = [0, 0];
    for (const [index, bus] of members.entries()) {
      const onMessage = () => {
        counts[index] = (counts[index] ?? 0) + 1;
      };
      await bus.subscribe("jobs", { group: "g", onMessage });
    }
    const [bus] = members as [Bus];
    const plain = await bus.subscribe("plain", { gapErrors: true, onGap: (gap) => gaps.push(gap) });
    bus.publish("plain", 1);
    await bus.flush();
    await mortal.restart();
    await eventually(() => members.every(({ isConnected }) => isConnected), "all are back");
    bus.publish("plain", 2);
    expect((await plain.next()).value.data).toBe(1);
    const gap = await plain.next().catch((error: unknown) => error);
    expect(gap).toBeInstanceOf(GapError);
    expect(gap).toMatchObject({ count: undefined, reason: "disconnected" });
    expect((await plain.next()).value.data).toBe(2);
    expect(gaps).toEqual([{ topic: undefined, count: undefined, reason: "disconnected" }]);
    for (let number = 0; number < 10; number += 1) bus.publish("jobs", number);
    await eventually(() => counts[0] === 5 && counts[1] === 5, "both took their share");
  });

  test("goes on where a full subscription had stopped it", async () => {
    await using mortal = await MortalBroker.start();
    const bus = await mortal.open();
    const publisher = await mortal.open();
    const work = await bus.subscribe("work", { overflow: "block", queueMessagesMax: 2 });
    for (let number = 0; number < 5; number += 1) publisher.publish("work", number);
    await publisher.flush();
    await eventually(() => work.queued >= 2, "it is full");
    await mortal.restart();
    await eventually(() => publisher.isConnected, "the publisher is back");
    for (let number = 0; number < 5; number += 1)
      expect((await work.next()).value.data).toBe(number);
    await eventually(() => work.disconnects === 1 && bus.isConnected, "the reader is back");
    for (let number = 5; number < 50; number += 1) publisher.publish("work", number);
    for (let number = 5; number < 50; number += 1) {
      expect((await work.next()).value.data).toBe(number);
    }
  });

  test("gives no receipt for what nobody can know", async () => {
    await using mortal = await MortalBroker.start();
    const bus = await mortal.open();
    await bus.publish("a", 0, { receipt: true });
    mortal.process.kill("SIGSTOP");
    const receipt = bus.publish("a", 1, { receipt: true }).catch((error: unknown) => error);
    // It leaves at the end of the tick; else it would be kept, and sent to the next broker.
    await Bun.sleep(0);
    await mortal.kill();
    expect(await receipt).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    const refused = bus.publish("a", 2, { receipt: true });
    expect(await rejectionOf(refused)).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    await mortal.start();
    await eventually(() => bus.isConnected, "it is back");
    expect(await bus.flush().catch((error: unknown) => error)).toMatchObject({
      code: "CLOSED_DISCONNECTED",
    });
    expect(await bus.publish("a", 3, { receipt: true })).toMatchObject({ published: 1 });
  });
});
