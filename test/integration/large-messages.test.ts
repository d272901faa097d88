/** Bodies that no packet can carry: to everybody, in order, unchanged, and nowhere left behind. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { SEND_QUEUE_MEMORY_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import { type Bus, connect, Memory, type Message } from "../../src/client/index.ts";
import { LARGE_COPY_BYTES_MAX } from "../../src/client/limits.ts";
import type { Subscription } from "../../src/client/subscription.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { LARGE_BODY_BYTES_MAX, MESSAGE_BODY_BYTES_MAX } from "../../src/protocol/limits.ts";
import {
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_LARGE,
  GAP_REASON,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { rejectionOf } from "../support/mortal-broker.ts";
import { OwnFds } from "../support/open-files.ts";
import { mapOf, messagePacket, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { readText, TestFiles } from "../support/test-files.ts";
import { countingBytes, largePacket, memoryOf } from "../support/test-memory.ts";

const MIB = 1024 * 1024;
const LARGE = MESSAGE_BODY_BYTES_MAX + 1;

let broker: SpawnedBroker;
let fdsAtRest: number;
/** Memory of the library and of the tests. */
let memories: OwnFds;

beforeEach(async () => {
  broker = await spawnBroker();
  using _first = await RawClient.open(broker.path);
  fdsAtRest = (await broker.fdsAtRest()) - 1;
  memories = new OwnFds(/memfd:seqbus/);
});

afterEach(async () => {
  await broker.expectFds(fdsAtRest);
  await broker[Symbol.asyncDispose]();
});

async function next(subscription: Subscription): Promise<Message> {
  return (await subscription.next()).value;
}

function digest(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

describe("Bus.publish()", () => {
  test.each([
    0,
    1,
    MESSAGE_BODY_BYTES_MAX - 1,
    MESSAGE_BODY_BYTES_MAX,
    MESSAGE_BODY_BYTES_MAX + 1,
    LARGE_COPY_BYTES_MAX - 1,
    LARGE_COPY_BYTES_MAX,
    LARGE_COPY_BYTES_MAX + 1,
    MIB,
    LARGE_BODY_BYTES_MAX,
  ])("brings %d bytes to a subscriber as they were", async (byteLength) => {
    const bytes = countingBytes(byteLength);
    {
      await using bus = await connect({ path: broker.path });
      const subscription = await bus.subscribe("a");
      bus.publish("a", bytes);
      expect(await bus.flush()).toMatchObject({ published: 1, delivered: 1 });
      using message = await next(subscription);
      expect(message.byteLength).toBe(byteLength);
      expect(digest(message.bytes)).toBe(digest(bytes));
      expect(message.data).toEqual(message.bytes);
    }
    expect(memories.count).toBe(0);
    expect(Memory.mapped.bytes).toBe(0);
  });

  test("refuses a byte more than the limit, at once", async () => {
    await using bus = await connect({ path: broker.path });
    let thrown: unknown;
    try {
      bus.publish("a", new Uint8Array(LARGE_BODY_BYTES_MAX + 1));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "LIMIT_MESSAGE_BYTES", limit: LARGE_BODY_BYTES_MAX });
    expect(await bus.flush()).toMatchObject({ published: 0 });
    expect(memories.count).toBe(0);
  });

  test.each([
    ["text", "ü".repeat(MIB), {}],
    ["msgpack", { list: Array.from({ length: 50_000 }, (_, index) => index) }, {}],
    ["JSON", { text: "x".repeat(MIB), deep: [{ er: true }] }, { encoding: "json" }],
  ] as const)("brings large %s to a subscriber as it was", async (_name, data, options) => {
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe("a");
    bus.publish("a", data, options);
    using message = await next(subscription);
    expect(message.byteLength).toBeGreaterThan(MESSAGE_BODY_BYTES_MAX);
    expect(message.data).toEqual(data);
    expect(Memory.mapped.bytes).toBe(0);
  });

  test("keeps the order with small messages around, over topics", async () => {
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe(">");
    const rounds = 30;
    for (let round = 0; round < rounds; round += 1) {
      bus.publish("small", `before ${round}`);
      bus.publish(round % 2 === 0 ? "a" : "b", countingBytes(LARGE + round, round));
      bus.publish("small", `after ${round}`);
    }
    for (let round = 0; round < rounds; round += 1) {
      expect((await next(subscription)).data).toBe(`before ${round}`);
      using message = await next(subscription);
      expect(message.topic).toBe(round % 2 === 0 ? "a" : "b");
      expect(digest(message.bytes)).toBe(digest(countingBytes(LARGE + round, round)));
      expect((await next(subscription)).data).toBe(`after ${round}`);
    }
  });

  test("sends one Memory to many topics", async () => {
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe("display.*");
    using image = Memory.from(countingBytes(MIB)).seal();
    for (const side of ["left", "right"]) bus.publish(`display.${side}`, image);
    image.close();
    for (const side of ["left", "right"]) {
      using message = await next(subscription);
      expect(message.topic).toBe(`display.${side}`);
      expect(digest(message.bytes)).toBe(digest(countingBytes(MIB)));
    }
  });
});

describe("a large message", () => {
  test("reaches 16 subscribers, each with a body of its own", async () => {
    const bytes = countingBytes(3 * MIB);
    {
      await using buses = new AsyncDisposableStack();
      const subscriptions: Subscription[] = [];
      for (let count = 0; count < 16; count += 1) {
        const bus: Bus = buses.use(await connect({ path: broker.path }));
        subscriptions.push(await bus.subscribe("a"));
      }
      await using publisher = await connect({ path: broker.path });
      publisher.publish("a", bytes);
      expect(await publisher.flush()).toMatchObject({ matched: 16, delivered: 16 });
      const messages = await Promise.all(subscriptions.map(next));
      const [first] = messages;
      first?.bytes.fill(0);
      for (const message of messages.slice(1)) {
        expect(digest(message.bytes)).toBe(digest(bytes));
      }
      for (const message of messages) message[Symbol.dispose]();
    }
    expect(memories.count).toBe(0);
    expect(Memory.mapped.bytes).toBe(0);
  });

  test("reaches several subscriptions of one client, which let go of it apart", async () => {
    await using bus = await connect({ path: broker.path });
    const all = await bus.subscribe(">");
    const one = await bus.subscribe("a");
    const digests: string[] = [];
    const onMessage = (message: Message): void => {
      digests.push(digest(message.bytes));
      message[Symbol.dispose]();
    };
    await bus.subscribe("*", { onMessage });
    const bytes = countingBytes(MIB);
    bus.publish("a", bytes);
    using first = await next(all);
    first[Symbol.dispose]();
    using second = await next(one);
    expect(digest(second.bytes)).toBe(digest(bytes));
    expect(digests).toEqual([digest(bytes)]);
  });

  test("costs no mapping where nobody reads it, and no fd once it is disposed of", async () => {
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe("a");
    bus.publish("a", new Uint8Array(MIB));
    using message = await next(subscription);
    expect(message.byteLength).toBe(MIB);
    expect(Memory.mapped.mappings).toBe(0);
    expect(memories.count).toBe(1);
    message[Symbol.dispose]();
    expect(memories.count).toBe(0);
    expect(() => message.bytes).toThrow("disposed of");
  });

  test("brings files along", async () => {
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe("a");
    using files = new TestFiles(["one", "two"]);
    bus.publish("a", countingBytes(MIB), { fds: files.fds });
    using message = await next(subscription);
    expect(message.fds).toHaveLength(2);
    const texts = [0, 1].map((index) => {
      using file = message.fds.take(index);
      return readText(file.fd);
    });
    expect(texts).toEqual(["one", "two"]);
    expect(digest(message.bytes)).toBe(digest(countingBytes(MIB)));
  });

  test.each([false, true])("is the first fd of a raw client, on the lane: %p", async (lane) => {
    using publisher = await RawClient.open(broker.path);
    using subscriber = await RawClient.open(broker.path, { lane });
    await subscriber.subscribe("a");
    const topic = await publisher.openTopic("a");
    using memory = memoryOf(countingBytes(LARGE));
    using files = new TestFiles(["file"]);
    publisher.send(largePacket(topic, LARGE, 2), [memory.number, ...files.fds]);
    const frame = await subscriber.nextOf(OPCODE.MESSAGE);
    const flags = FLAG_LARGE | (lane ? FLAG_FDS_ON_LANE : 0);
    expect(frame).toMatchObject({ flags, fdCount: 2 });
    expect(new DataView(frame.body.buffer).getBigUint64(0, true)).toBe(BigInt(LARGE));
    const [bodyFd = -1, fileFd = -1] = frame.fds;
    expect(readText(fileFd)).toBe("file");
    expect(readText(bodyFd)).toHaveLength(readText(memory.number).length);
    for (const fd of frame.fds) closeFd(fd);
  });

  test("comes without its files to who may not have them, and needs no right to be sent", async () => {
    const uid = process.getuid?.() ?? 0;
    const policy = `
[[rule]]
topics = [">"]
user = ${uid}
allow = ["publish", "subscribe"]

[[rule]]
topics = ["files.>"]
user = ${uid}
allow = ["send-fds"]
`;
    await using strict = await spawnBroker({ policy });
    await using bus = await connect({ path: strict.path });
    using raw = await RawClient.open(strict.path);
    await raw.subscribe(">");
    const subscription = await bus.subscribe(">");
    using files = new TestFiles(["secret"]);
    bus.publish("plain", countingBytes(LARGE));
    bus.publish("files.a", countingBytes(LARGE), { fds: files.fds });
    expect(await bus.flush()).toMatchObject({ published: 2, delivered: 4 });
    for (const fdsWithheld of [false, true]) {
      using message = await next(subscription);
      expect(message).toMatchObject({ fdsWithheld, fds: { length: 0 } });
      expect(digest(message.bytes)).toBe(digest(countingBytes(LARGE)));
      const frame = await raw.nextOf(OPCODE.MESSAGE);
      const flags = FLAG_LARGE | (fdsWithheld ? FLAG_FDS_WITHHELD : 0);
      expect(frame).toMatchObject({ flags, fdCount: 1 });
      for (const fd of frame.fds) closeFd(fd);
    }
    bus.publish("plain", countingBytes(LARGE), { fds: files.fds });
    expect(await rejectionOf(bus.flush())).toMatchObject({ code: "REJECTED_BY_POLICY" });
    expect(subscription.queued).toBe(0);
  });

  test("is a gap in its place for a client that closed its lane", async () => {
    using publisher = await RawClient.open(broker.path);
    using subscriber = await RawClient.open(broker.path, { lane: true });
    await subscriber.subscribe("a");
    subscriber.lane?.close();
    const topic = await publisher.openTopic("a");
    using memory = memoryOf(countingBytes(LARGE));
    publisher.sendMessage(topic, "before");
    publisher.send(largePacket(topic, LARGE), [memory.number]);
    publisher.sendMessage(topic, "after");
    expect(textOf(await subscriber.nextOf(OPCODE.MESSAGE))).toBe("before");
    const gap = await subscriber.next();
    expect(gap).toMatchObject({ opcode: OPCODE.GAP, id: topic });
    expect(mapOf(gap)).toEqual({ count: 1, reason: GAP_REASON.BODY_REFUSED });
    expect(textOf(await subscriber.nextOf(OPCODE.MESSAGE))).toBe("after");
  });
});

describe("a subscriber that does not read", () => {
  /** Messages of 60,000 bytes that fill a client's socket. */
  const FILLERS = 60;

  test("loses what is beyond the limit on memory, and is told exactly how much", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("a");
    const topic = await publisher.openTopic("a");
    const filler = messagePacket(topic, new Uint8Array(60_000));
    for (let count = 0; count < FILLERS; count += 1) await publisher.sendEventually(filler);
    const byteLength = LARGE_BODY_BYTES_MAX;
    const fitting = SEND_QUEUE_MEMORY_BYTES_MAX / byteLength;
    using memory = memoryOf(new Uint8Array(byteLength));
    const packet = largePacket(topic, byteLength);
    for (let count = 0; count < fitting + 3; count += 1) {
      await publisher.sendEventually(packet, [memory.number]);
    }
    expect(await publisher.sync()).toMatchObject({
      published: FILLERS + fitting + 3,
      delivered: FILLERS + fitting,
      dropped: 3,
    });
    await slow.nextTexts(FILLERS);
    for (let count = 0; count < fitting; count += 1) {
      const frame = await slow.nextOf(OPCODE.MESSAGE);
      expect(frame).toMatchObject({ flags: FLAG_LARGE, fdCount: 1 });
      for (const fd of frame.fds) closeFd(fd);
    }
    const gap = await slow.next();
    expect(gap).toMatchObject({ opcode: OPCODE.GAP, id: topic });
    expect(mapOf(gap)).toEqual({ count: 3, reason: GAP_REASON.SEND_QUEUE_FULL });
  });

  test("leaves nothing in the broker when it dies", async () => {
    using publisher = await RawClient.open(broker.path);
    {
      using slow = await RawClient.open(broker.path);
      await slow.subscribe("a");
      const topic = await publisher.openTopic("a");
      const filler = messagePacket(topic, new Uint8Array(60_000));
      for (let count = 0; count < FILLERS; count += 1) await publisher.sendEventually(filler);
      using memory = memoryOf(countingBytes(LARGE));
      for (let count = 0; count < 50; count += 1) {
        await publisher.sendEventually(largePacket(topic, LARGE), [memory.number]);
      }
      expect(await publisher.sync()).toMatchObject({ delivered: FILLERS + 50 });
      await eventually(() => broker.countFds() >= fdsAtRest + 52, "the broker holds the bodies");
    }
    await broker.expectFds(fdsAtRest + 1);
  });
});

describe("a program that holds many unread messages", () => {
  test("holds few fds, and can read all of them in the end", async () => {
    const count = 300;
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe("a");
    const messages: Message[] = [];
    for (let number = 0; number < count; number += 1) {
      bus.publish("a", countingBytes(LARGE, number));
      if (number % 20 === 0) await bus.flush();
    }
    while (messages.length < count) messages.push(await next(subscription));
    expect(memories.count).toBeLessThan(100);
    for (const [number, message] of messages.entries()) {
      expect(digest(message.bytes)).toBe(digest(countingBytes(LARGE, number)));
      message[Symbol.dispose]();
    }
    expect(memories.count).toBe(0);
  });
});
