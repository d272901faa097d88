/** Which messages reach whom, in which order, and with which figures: on the wire as it is. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { SHUT_RDWR } from "../../src/ffi/constants.ts";
import { libc } from "../../src/ffi/libc.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { mapOf, messagePacket, packetOf, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

let broker: SpawnedBroker;

beforeEach(async () => {
  broker = await spawnBroker();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

async function subscribed(...patterns: string[]): Promise<RawClient> {
  const client = await RawClient.open(broker.path);
  for (const pattern of patterns) await client.subscribe(pattern);
  return client;
}

describe("a message", () => {
  test("reaches every client with a subscription that matches, once", async () => {
    using publisher = await RawClient.open(broker.path);
    using exact = await subscribed("a.b");
    using wide = await subscribed("a.*", "a.>", ">", "a.b");
    using other = await subscribed("a", "a.b.c", "b.>");
    publisher.sendMessage(await publisher.openTopic("a.b"), "one");
    publisher.sendMessage(await publisher.openTopic("a.c"), "two");
    expect(await publisher.sync()).toEqual({
      published: 2,
      matched: 3,
      delivered: 3,
      dropped: 0,
      denied: 0,
      queued: 0,
      lostLater: 0,
      superseded: 0,
      fdsWaiting: 0,
      fdsExpired: 0,
    });
    expect(await exact.nextTexts(1)).toEqual(["one"]);
    expect(await wide.nextTexts(2)).toEqual(["one", "two"]);
    await other.sync();
    expect(other.received()).toEqual([]);
  });

  test("reaches its own sender, if it subscribed", async () => {
    using client = await subscribed("a");
    client.sendMessage(await client.openTopic("a"), "echo");
    const message = await client.nextOf(OPCODE.MESSAGE);
    expect(message.origin).toBe(client.connection);
    expect(textOf(message)).toBe("echo");
  });

  test("bears the sender's connection id, whatever the sender wrote", async () => {
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed("a");
    const topic = await publisher.openTopic("a");
    publisher.send(
      packetOf((writer) => writer.append(OPCODE.MESSAGE, 0, 0, topic, 4_711, undefined)),
    );
    const message = await subscriber.nextOf(OPCODE.MESSAGE);
    expect(message.origin).toBe(publisher.connection);
  });

  test("keeps its place over many topics in one packet", async () => {
    using publisher = await RawClient.open(broker.path);
    using all = await subscribed(">");
    using even = await subscribed("t.0", "t.2", "t.4");
    const topics: number[] = [];
    for (let index = 0; index < 5; index += 1) {
      topics.push(await publisher.openTopic(`t.${index}`));
    }
    const packet = packetOf((writer) => {
      for (let index = 0; index < 1_000; index += 1) {
        const body = new TextEncoder().encode(`${index}`);
        writer.append(OPCODE.MESSAGE, 0, 0, topics[(index * 7) % 5] ?? 0, 0, body);
      }
    });
    publisher.send(packet);
    const numbers = Array.from({ length: 1_000 }, (_, index) => index);
    expect((await all.nextTexts(1_000)).map(Number)).toEqual(numbers);
    const evenNumbers = numbers.filter((index) => ((index * 7) % 5) % 2 === 0);
    expect((await even.nextTexts(evenNumbers.length)).map(Number)).toEqual(evenNumbers);
  });

  test("mixed with requests in one packet is routed in that order", async () => {
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("a");
    client.send(
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new TextEncoder().encode("unheard"));
        writer.appendControl(OPCODE.SUBSCRIBE, 0, 77, { pattern: "a" });
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new TextEncoder().encode("heard"));
        writer.appendControl(OPCODE.UNSUBSCRIBE, 0, 78, { subscription: 1 });
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new TextEncoder().encode("unheard"));
        writer.appendControl(OPCODE.SYNC, 0, 79, undefined);
        writer.appendControl(OPCODE.CLOSE_TOPIC, 0, topic, undefined);
        writer.appendControl(OPCODE.CLOSE_TOPIC, 0, topic, undefined);
        writer.appendControl(OPCODE.SYNC, 0, 80, undefined);
      }),
    );
    const frames = [];
    for (;;) {
      const frame = await client.next();
      frames.push(frame);
      if (frame.id === 80) break;
    }
    expect(frames.map(({ opcode, id }) => [opcode, id])).toEqual([
      [OPCODE.ACK, 77],
      [OPCODE.TOPIC, topic],
      [OPCODE.SENDER, client.connection],
      [OPCODE.MESSAGE, topic],
      [OPCODE.ACK, 78],
      [OPCODE.ACK, 79],
      [OPCODE.ACK, 80],
    ]);
    expect(frames[3] && textOf(frames[3])).toBe("heard");
  });

  test("is routed although its sender closed right behind it", async () => {
    using subscriber = await subscribed("a");
    const count = 200;
    {
      // The sender hears itself, so the broker finds out early that nobody reads there any more.
      using publisher = await subscribed("a");
      const topic = await publisher.openTopic("a");
      broker.kill("SIGSTOP");
      for (let index = 0; index < count; index += 1) publisher.sendMessage(topic, `${index}`);
    }
    broker.kill("SIGCONT");
    const texts = await subscriber.nextTexts(count);
    expect(texts).toEqual(Array.from({ length: count }, (_, index) => `${index}`));
    await subscriber.nextOf(OPCODE.SENDER_GONE);
  });
});

describe("names and senders", () => {
  test("are told before the first message and not again", async () => {
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed("a.>");
    const topic = await publisher.openTopic("a.b");
    publisher.sendMessage(topic, "one");
    publisher.sendMessage(topic, "two");
    await publisher.sync();
    const frames = [];
    while (frames.length < 4) frames.push(await subscriber.next());
    expect(frames.map(({ opcode, id }) => [opcode, id])).toEqual([
      [OPCODE.TOPIC, topic],
      [OPCODE.SENDER, publisher.connection],
      [OPCODE.MESSAGE, topic],
      [OPCODE.MESSAGE, topic],
    ]);
    expect(frames[0] && mapOf(frames[0])).toEqual({ topic: "a.b" });
  });

  test("are told anew when a topic id comes to stand for another topic", async () => {
    using subscriber = await subscribed(">");
    using publisher = await RawClient.open(broker.path);
    const first = await publisher.openTopic("first");
    publisher.sendMessage(first, "one");
    publisher.sendControl(OPCODE.CLOSE_TOPIC, first);
    const second = await publisher.openTopic("second");
    expect(second).toBe(first);
    publisher.sendMessage(second, "two");
    expect(mapOf(await subscriber.nextOf(OPCODE.TOPIC))).toEqual({ topic: "first" });
    expect(await subscriber.nextTexts(1)).toEqual(["one"]);
    expect(mapOf(await subscriber.nextOf(OPCODE.TOPIC))).toEqual({ topic: "second" });
    expect(await subscriber.nextTexts(1)).toEqual(["two"]);
  });

  test("end with SENDER_GONE, for those who knew them", async () => {
    using subscriber = await subscribed("a");
    using stranger = await subscribed("b");
    let connection = 0;
    {
      using publisher = await RawClient.open(broker.path);
      connection = publisher.connection;
      publisher.sendMessage(await publisher.openTopic("a"), "word");
      await publisher.sync();
    }
    expect((await subscriber.nextOf(OPCODE.SENDER_GONE)).id).toBe(connection);
    await stranger.sync();
    expect(stranger.received()).toEqual([]);
  });
});

describe("a request", () => {
  test.each([
    [OPCODE.OPEN_TOPIC, { topic: "" }, "REJECTED_TOPIC_NAME"],
    [OPCODE.OPEN_TOPIC, { topic: "a..b" }, "REJECTED_TOPIC_NAME"],
    [OPCODE.OPEN_TOPIC, { topic: "a.*" }, "REJECTED_TOPIC_NAME"],
    [OPCODE.OPEN_TOPIC, { topic: "$bus.clients" }, "REJECTED_TOPIC_NAME"],
    [OPCODE.OPEN_TOPIC, { topic: "a".repeat(256) }, "REJECTED_TOPIC_NAME"],
    [OPCODE.SUBSCRIBE, { pattern: ">.a" }, "REJECTED_PATTERN"],
    [OPCODE.SUBSCRIBE, { pattern: "a b" }, "REJECTED_PATTERN"],
    [OPCODE.UNSUBSCRIBE, { subscription: 9 }, "REJECTED_SUBSCRIPTION"],
  ] as const)(
    "0x%i %j is answered with %s, and the connection goes on",
    async (opcode, body, code) => {
      using client = await RawClient.open(broker.path);
      const answer = await client.requestFrame(opcode, body);
      expect(answer).toMatchObject({ opcode: OPCODE.ERROR, flags: 0 });
      expect(mapOf(answer)).toMatchObject({ status: STATUS[code] });
      expect(await client.sync()).toMatchObject({ published: 0 });
    },
  );

  test("for a topic that is open already gives the same id", async () => {
    using client = await RawClient.open(broker.path);
    const first = await client.openTopic("a");
    expect(await client.openTopic("a")).toBe(first);
    client.sendControl(OPCODE.CLOSE_TOPIC, first);
    expect(await client.sync()).toMatchObject({ published: 0 });
    client.sendMessage(first, "closed");
    const [error] = await client.untilEnd();
    expect(error && mapOf(error)).toMatchObject({ status: STATUS.PROTOCOL_TOPIC_ID });
  });

  test("to unsubscribe ends the messages, with its ACK", async () => {
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("a.b");
    const first = await client.subscribe("a.*");
    const second = await client.subscribe("a.b");
    await client.request(OPCODE.UNSUBSCRIBE, { subscription: first });
    client.sendMessage(topic, "one");
    await client.request(OPCODE.UNSUBSCRIBE, { subscription: second });
    client.sendMessage(topic, "two");
    expect(await client.sync()).toMatchObject({ published: 2, matched: 1 });
    const messages = client.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE);
    expect(messages.map(textOf)).toEqual(["one"]);
  });
});

describe("a connection that ends", () => {
  test.each([
    ["by closing", (client: RawClient) => client[Symbol.dispose]()],
    ["by shutting down", (client: RawClient) => libc.shutdown(client.socket.number, SHUT_RDWR)],
    ["by an empty packet", (client: RawClient) => sendEmpty(client)],
  ])("%s is forgotten by the broker", async (_how, end) => {
    using client = await subscribed("a");
    const { connection } = client;
    end(client);
    const isGone = () =>
      broker.findAll("disconnected").find((event) => event.connection === connection);
    expect(await eventually(isGone, "the broker noticed")).not.toHaveProperty("code");
    using publisher = await RawClient.open(broker.path);
    publisher.send(messagePacket(await publisher.openTopic("a"), "word"));
    expect(await publisher.sync()).toMatchObject({ published: 1, matched: 0 });
  });
});

/** send(2) of no bytes, which src/ffi refuses to do. */
function sendEmpty(client: RawClient): void {
  expect(libc.send(client.socket.number, null, 0, 0)).toBe(0);
}
