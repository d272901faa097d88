/** A subscriber that does not read: it is told what it lost, in its place, and nobody else waits. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { GAP_REASON, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { FLOOD_MESSAGES, flood, numberedPacket, numberOf } from "../support/numbered-flood.ts";
import { mapOf, messagePacket, packetOf, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";

let broker: SpawnedBroker;
let fdsAtRest: number;

beforeAll(async () => {
  broker = await spawnBroker();
  using _first = await RawClient.open(broker.path);
  fdsAtRest = (await broker.fdsAtRest()) - 1;
});

afterAll(async () => {
  await broker.expectFds(fdsAtRest);
  await broker[Symbol.asyncDispose]();
});

/** Reads until message `last` has come. @returns numbers of messages, and gaps as [id, count] */
async function readUntil(
  client: RawClient,
  last: number,
): Promise<(number | [id: number, count: number])[]> {
  const seen: (number | [number, number])[] = [];
  for (;;) {
    const frame = await client.next();
    if (frame.opcode === OPCODE.GAP) {
      expect(mapOf(frame)["reason"]).toBe(GAP_REASON.SEND_QUEUE_FULL);
      seen.push([frame.id, Number(mapOf(frame)["count"])]);
    }
    if (frame.opcode !== OPCODE.MESSAGE) continue;
    seen.push(numberOf(frame));
    if (numberOf(frame) === last) return seen;
  }
}

describe("a receipt", () => {
  test("counts as queued what waits behind others, for each slow subscriber, and nothing else", async () => {
    using publisher = await RawClient.open(broker.path);
    using quick = await RawClient.open(broker.path);
    await quick.subscribe("queued.*");
    const topic = await publisher.openTopic("queued.a");
    const alone = await publisher.openTopic("queued.b");
    const packet = numberedPacket([topic], 0);
    publisher.send(packet);
    expect(await publisher.sync()).toMatchObject({ delivered: 64, queued: 0 });
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("queued.a");
    // Until its socket is full; from then on all waits that is for it.
    await eventually(async () => {
      publisher.send(packet);
      quick.received();
      return Number((await publisher.sync())["queued"]) > 0;
    }, "something waits for the slow one");
    for (const twice of [1, 2]) {
      for (let times = 0; times < twice; times += 1) publisher.send(packet);
      const figures = await publisher.sync();
      expect(figures).toMatchObject({ delivered: 128 * twice, queued: 64 * twice, dropped: 0 });
      quick.received();
    }
    publisher.send(numberedPacket([alone], 0));
    expect(await publisher.sync()).toMatchObject({ delivered: 64, queued: 0 });
  });
});

describe("a subscriber that does not read", () => {
  test("gets one gap that counts exactly what is missing, in its place", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("flood");
    const topic = await publisher.openTopic("flood");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    const figures = await publisher.sync();
    expect(figures).toMatchObject({ published: FLOOD_MESSAGES, matched: FLOOD_MESSAGES });
    const dropped = Number(figures["dropped"]);
    expect(dropped).toBeGreaterThan(0);
    expect(figures["delivered"]).toBe(FLOOD_MESSAGES - dropped);

    const kept = await readUntil(slow, FLOOD_MESSAGES - dropped - 1);
    expect(kept).toEqual(Array.from({ length: FLOOD_MESSAGES - dropped }, (_, index) => index));
    await publisher.sendEventually(numberedPacket([topic], FLOOD_MESSAGES, 1));
    const rest = await readUntil(slow, FLOOD_MESSAGES);
    expect(rest).toEqual([[topic, dropped], FLOOD_MESSAGES]);
  });

  test("is told losses by topic", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("floods.*");
    const topics = [
      await publisher.openTopic("floods.a"),
      await publisher.openTopic("floods.b"),
      await publisher.openTopic("floods.c"),
    ];
    await flood(publisher, topics, FLOOD_MESSAGES);
    const { dropped } = await publisher.sync();
    const kept = FLOOD_MESSAGES - Number(dropped);
    await readUntil(slow, kept - 1);
    await publisher.sendEventually(numberedPacket(topics, FLOOD_MESSAGES, 1));
    const rest = await readUntil(slow, FLOOD_MESSAGES);
    const lost = new Map<number, number>();
    for (let number = kept; number < FLOOD_MESSAGES; number += 1) {
      const topic = topics[number % topics.length] ?? 0;
      lost.set(topic, (lost.get(topic) ?? 0) + 1);
    }
    expect(new Map(rest.filter((item) => typeof item !== "number"))).toEqual(lost);
  });

  test("is told its losses when it is a stopped program that goes on", async () => {
    using publisher = await RawClient.open(broker.path);
    await using client = await connectAs(process.getuid?.() ?? 0, broker.path);
    await client.call("subscribe", "flood");
    const topic = await publisher.openTopic("flood");
    client.kill("SIGSTOP");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    const dropped = Number((await publisher.sync())["dropped"]);
    expect(dropped).toBeGreaterThan(0);
    client.kill("SIGCONT");
    await eventually(async () => {
      const { queued, lost } = await client.call("counts");
      return queued === FLOOD_MESSAGES - dropped && lost === dropped;
    }, "the client has counted what came and what did not");
  });

  test("costs a subscriber that reads nothing", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    using quick = await RawClient.open(broker.path);
    await slow.subscribe("flood");
    await quick.subscribe("flood");
    const topic = await publisher.openTopic("flood");
    const seen: number[] = [];
    const read = () => {
      for (const frame of quick.received()) {
        if (frame.opcode === OPCODE.GAP) throw new Error("The quick subscriber lost something");
        if (frame.opcode === OPCODE.MESSAGE) seen.push(numberOf(frame));
      }
    };
    await flood(publisher, [topic], FLOOD_MESSAGES, read);
    await eventually(
      () => {
        read();
        return seen.length === FLOOD_MESSAGES;
      },
      () => `all messages came, ${seen.length} did`,
    );
    expect(seen).toEqual(Array.from({ length: FLOOD_MESSAGES }, (_, index) => index));
  });

  test("is evicted when not even control frames fit", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("flood");
    const topic = await publisher.openTopic("flood");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    const { connection } = slow;
    const isEvicted = () =>
      broker.findAll("disconnected").find((event) => event.connection === connection);
    // Each refused request is an answer of some hundred bytes that waits for the client.
    const request = packetOf((writer) => {
      writer.appendControl(OPCODE.UNSUBSCRIBE, 0, 1, { subscription: 4_294_967_295 });
    });
    const event = await eventually(() => {
      for (let count = 0; count < 64; count += 1) if (slow.trySend(request) < 0) break;
      return isEvicted();
    }, "the slow client was evicted");
    expect(event.code).toBe("LIMIT_CONTROL_QUEUE");
    expect(await publisher.sync()).toMatchObject({ published: FLOOD_MESSAGES });
    const last = (await slow.untilEnd()).at(-1);
    expect(last?.opcode).toBe(OPCODE.ERROR);
    expect(last && mapOf(last)["status"]).toBe(STATUS.LIMIT_CONTROL_QUEUE);
  });

  testUnless(
    process.getuid?.() !== 0,
    "only root can start a broker as another user",
    "is told why it is closed by a broker that is not root, too",
    async () => {
      const uid = 65_534;
      await using own = await spawnBroker({ uid });
      await using client = await connectAs(uid, own.path);
      await using publisher = await connectAs(uid, own.path);
      await client.call("subscribe", "flood", { overflow: "disconnect" });
      client.kill("SIGSTOP");
      const isClosed = () =>
        own.findAll("disconnected").some(({ code }) => code === "LIMIT_SLOW_READER");
      await eventually(async () => {
        for (let count = 0; count < 100; count += 1) {
          await publisher.call("publish", "flood", "x".repeat(60_000));
        }
        return isClosed();
      }, "the slow client was closed");
      client.kill("SIGCONT");
      expect(await client.call("reasonOfEnd")).toBe("LIMIT_SLOW_READER");
    },
  );

  test("is not closed for the names of topics whose messages it does not get", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe(">");
    const first = await publisher.openTopic("flood");
    await flood(publisher, [first], FLOOD_MESSAGES);
    const topics: number[] = [];
    const names: string[] = [];
    for (let number = 0; number < 2_000; number += 1) {
      names.push(`long.${"x".repeat(230)}.${number}`);
      topics.push(await publisher.openTopic(names[number] ?? ""));
    }
    const one = new Uint8Array(4);
    for (const topic of topics) await publisher.sendEventually(messagePacket(topic, one));
    const { dropped } = await publisher.sync();
    const { connection } = slow;
    const ended = await broker.reportedSoFar("disconnected");
    expect(ended.some((each) => each.connection === connection)).toBe(false);
    // Once it reads again it is told the loss, and each name before its next message.
    let lost = 0;
    const readAll = () => {
      for (const frame of slow.received()) {
        if (frame.opcode === OPCODE.GAP) lost += Number(mapOf(frame)["count"]);
      }
      return lost;
    };
    await eventually(() => {
      readAll();
      return lost >= 2_000;
    }, "the losses were told");
    const last = topics.at(-1) ?? 0;
    await publisher.sendEventually(messagePacket(last, one));
    const frames = await eventually(() => {
      const seen = slow.received();
      return seen.some(({ opcode }) => opcode === OPCODE.MESSAGE) && seen;
    }, "a message came");
    const name = frames.find(({ opcode }) => opcode === OPCODE.TOPIC);
    expect(name && mapOf(name)).toEqual({ topic: names.at(-1) ?? "" });
    expect(lost).toBe(Number(dropped) + Number((await publisher.sync())["dropped"]));
  });
});

describe("a clean shutdown", () => {
  test("tells a slow subscriber what it lost before it says GOODBYE", async () => {
    await using own = await spawnBroker();
    using publisher = await RawClient.open(own.path);
    using slow = await RawClient.open(own.path);
    await slow.subscribe("a");
    await flood(publisher, [await publisher.openTopic("a")], FLOOD_MESSAGES);
    await publisher.sync();
    own.kill("SIGTERM");
    const frames = await slow.untilEnd();
    const messages = frames.filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
    const [gap, goodbye] = frames.slice(-2);
    expect(goodbye?.opcode).toBe(OPCODE.GOODBYE);
    expect(gap?.opcode).toBe(OPCODE.GAP);
    expect(messages + Number(gap && mapOf(gap)["count"])).toBe(FLOOD_MESSAGES);
  });
});
