/**
 * PAUSE on real sockets: a subscriber with `block` that reads on, and whose publishers wait all the
 * same. Who waits for it, who does not, and that nobody waits for ever.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { FEATURE_PAUSE, FLAG_RESUME, OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { mapOf, packetOf, RawClient, requestOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

let broker: SpawnedBroker;
let bystander: RawClient;

beforeAll(async () => {
  broker = await spawnBroker();
  bystander = await RawClient.open(broker.path);
});

afterAll(async () => {
  bystander[Symbol.dispose]();
  await broker[Symbol.asyncDispose]();
});

/** Says it, and waits until the broker has heard it. */
async function pause(client: RawClient, flags = 0): Promise<void> {
  client.send(packetOf((writer) => writer.append(OPCODE.PAUSE, flags, 0, 0, 0, undefined)));
  await client.sync();
}

/** A client that must miss nothing of a topic. */
async function openBlocking(topic: string): Promise<RawClient> {
  const client = await RawClient.open(broker.path);
  await client.request(OPCODE.SUBSCRIBE, { pattern: topic, overflow: "block" });
  return client;
}

async function openPublisher(name: string) {
  const client = await RawClient.open(broker.path);
  return {
    client,
    topic: await client.openTopic(name),
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

async function entryOf({ connection }: RawClient) {
  const { answer } = await bystander.request(OPCODE.QUERY, { what: "clients" });
  const clients: Record<string, unknown>[] = JSON.parse(String(answer));
  return clients.find((client) => client["connection"] === connection);
}

async function stateOf(client: RawClient): Promise<unknown> {
  return (await entryOf(client))?.["state"];
}

async function untilHeld(client: RawClient): Promise<void> {
  await eventually(async () => (await stateOf(client)) === "held", "the publisher is held back");
}

/** Waits until the client is not held any more, while others stay at work and paused. */
async function untilFree(client: RawClient, paused: readonly RawClient[]): Promise<void> {
  await eventually(async () => {
    for (const one of paused) await pause(one);
    return (await stateOf(client)) === "open";
  }, "the publisher goes on");
}

function messagesOf(client: RawClient): number {
  return client.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
}

describe("PAUSE", () => {
  test("is a feature of the broker, for a client that asks for it", async () => {
    for (const [features, inForce] of [
      [0, 0],
      [FEATURE_PAUSE, FEATURE_PAUSE],
      [0x80 | FEATURE_PAUSE, FEATURE_PAUSE],
    ]) {
      using client = RawClient.connect(broker.path);
      client.sendControl(OPCODE.HELLO, 0, { protocol: 1, features: features ?? 0 });
      expect(mapOf(await client.nextOf(OPCODE.WELCOME))).toMatchObject({ features: inForce });
    }
  });

  test("holds publishers back until RESUME, while answers and other topics come", async () => {
    using subscriber = await openBlocking("paused");
    await subscriber.subscribe("other");
    using publisher = await openPublisher("paused");
    using other = await openPublisher("other");
    await pause(subscriber);
    publisher.client.sendMessage(publisher.topic, "waits");
    await untilHeld(publisher.client);
    other.client.sendMessage(other.topic, "comes");
    await other.client.sync();
    await subscriber.sync();
    expect(messagesOf(subscriber)).toBe(1);
    await pause(subscriber, FLAG_RESUME);
    expect(await publisher.client.sync()).toMatchObject({ published: 1, delivered: 1 });
    expect(await subscriber.nextTexts(1)).toEqual(["waits"]);
  });

  test("ends with the connection that said it", async () => {
    const subscriber = await openBlocking("paused");
    using publisher = await openPublisher("paused");
    await pause(subscriber);
    publisher.client.sendMessage(publisher.topic, "waits");
    await untilHeld(publisher.client);
    subscriber[Symbol.dispose]();
    expect(await publisher.client.sync()).toMatchObject({ published: 1, delivered: 0 });
  });

  test("loses no message of a publisher that hung up meanwhile, whatever it sent besides", async () => {
    using subscriber = await openBlocking("paused");
    await subscriber.subscribe("other");
    using caller = await RawClient.open(broker.path);
    const publisher = await openPublisher("paused");
    const { client } = publisher;
    const other = await client.openTopic("other");
    await client.serve("answers");
    caller.sendRequest(await caller.openService("answers"), 1, "?");
    const request = requestOf(await client.nextOf(OPCODE.REQUEST)).call;
    await caller.serve("asked");
    const asked = await client.openService("asked");
    await pause(subscriber);
    client.sendMessage(publisher.topic, "first");
    await untilHeld(client);
    client.sendRequest(asked, 1, "?");
    client.sendReply(request, "!");
    client.sendControl(OPCODE.SERVE, 1_001, { service: "late" });
    client.sendControl(OPCODE.CLOSE_SERVICE, asked);
    client.sendMessage(other, "last");
    publisher[Symbol.dispose]();
    // Its end is known, though not that of what it sent.
    await caller.nextOf(OPCODE.ERROR);
    await pause(subscriber, FLAG_RESUME);
    expect(await subscriber.nextTexts(2)).toEqual(["first", "last"]);
    const isIt = ({ connection }: { connection: number }) => connection === client.connection;
    const end = await eventually(() => broker.findAll("disconnected").find(isIt), "it has ended");
    expect(end).not.toHaveProperty("code");
    expect(broker.findAll("service-owner").filter(isIt)).toMatchObject([
      { topic: "answers", isOwner: true },
      { topic: "answers", isOwner: false },
    ]);
  });

  test("holds nobody back for a subscription that is gone", async () => {
    using subscriber = await RawClient.open(broker.path);
    const wish = { pattern: "left", overflow: "block" };
    const { subscription = 0 } = await subscriber.request(OPCODE.SUBSCRIBE, wish);
    using publisher = await openPublisher("left");
    await pause(subscriber);
    publisher.client.sendMessage(publisher.topic, "waits");
    await untilHeld(publisher.client);
    await subscriber.request(OPCODE.UNSUBSCRIBE, { subscription });
    await untilFree(publisher.client, [subscriber]);
    expect(await publisher.client.sync()).toMatchObject({ published: 1, delivered: 0 });
  });

  test("holds nobody back once the queue group has a new member that has not paused", async () => {
    using busy = await RawClient.open(broker.path);
    using free = await RawClient.open(broker.path);
    const wish = { pattern: "joined", overflow: "block", group: "workers" };
    await busy.request(OPCODE.SUBSCRIBE, wish);
    using publisher = await openPublisher("joined");
    await pause(busy);
    publisher.client.sendMessage(publisher.topic, "job");
    await untilHeld(publisher.client);
    await free.request(OPCODE.SUBSCRIBE, wish);
    await untilFree(publisher.client, [busy]);
    expect(await publisher.client.sync()).toMatchObject({ published: 1, delivered: 1 });
    await free.sync();
    expect([messagesOf(busy), messagesOf(free)]).toEqual([0, 1]);
  });

  test("holds back for whoever pauses when the one before has left, until that goes on", async () => {
    using first = await RawClient.open(broker.path);
    const wish = { pattern: "passed.on", overflow: "block" };
    const { subscription = 0 } = await first.request(OPCODE.SUBSCRIBE, wish);
    using publisher = await openPublisher("passed.on");
    await pause(first);
    publisher.client.sendMessage(publisher.topic, "waits");
    await untilHeld(publisher.client);
    using second = await openBlocking("passed.on");
    await pause(second);
    await first.request(OPCODE.UNSUBSCRIBE, { subscription });
    await eventually(async () => {
      await pause(second);
      return (await entryOf(second))?.["holdsBack"] === 1;
    }, "the second one holds it back");
    expect(await stateOf(publisher.client)).toBe("held");
    await pause(second, FLAG_RESUME);
    expect(await publisher.client.sync()).toMatchObject({ published: 1, delivered: 1 });
  });

  test("holds back no message of the client itself", async () => {
    using subscriber = await openBlocking("paused");
    const topic = await subscriber.openTopic("paused");
    await pause(subscriber);
    subscriber.sendMessage(topic, "own");
    expect(await subscriber.sync()).toMatchObject({ delivered: 1 });
    expect(await subscriber.nextTexts(1)).toEqual(["own"]);
  });

  test("has no effect while the client is held back itself, so nobody waits in a circle", async () => {
    using first = await openBlocking("to.first");
    using second = await openBlocking("to.second");
    using third = await openPublisher("to.first");
    const topic = await first.openTopic("to.second");
    await pause(first);
    await pause(second);
    third.client.sendMessage(third.topic, "waits for the first");
    await untilHeld(third.client);
    first.sendMessage(topic, "waits for the second");
    await untilHeld(first);
    expect(await third.client.sync()).toMatchObject({ published: 1, delivered: 1 });
    await pause(second, FLAG_RESUME);
    expect(await first.sync()).toMatchObject({ published: 1, delivered: 1 });
    // It is not held any more, and has not gone on.
    third.client.sendMessage(third.topic, "waits again");
    await untilHeld(third.client);
  });

  test("leaves messages of a queue group to members that have not paused", async () => {
    using busy = await RawClient.open(broker.path);
    using free = await RawClient.open(broker.path);
    for (const member of [busy, free]) {
      await member.request(OPCODE.SUBSCRIBE, { pattern: "jobs", group: "workers" });
    }
    using publisher = await openPublisher("jobs");
    await pause(busy);
    for (let number = 0; number < 10; number += 1) {
      publisher.client.sendMessage(publisher.topic, "job");
      await publisher.client.sync();
    }
    await busy.sync();
    await free.sync();
    expect([messagesOf(busy), messagesOf(free)]).toEqual([0, 10]);
    await pause(free);
    publisher.client.sendMessage(publisher.topic, "job");
    expect(await publisher.client.sync()).toMatchObject({ delivered: 1, dropped: 0 });
  });
});
