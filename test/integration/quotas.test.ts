/** What one user holds, another does not miss: quotas with clients of several users. */

import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { LimitError } from "../../src/errors.ts";
import { GAP_REASON, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, packetOf, RawClient } from "../support/raw-client.ts";
import { connectRawAs, openAs } from "../support/raw-user.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

const GREEDY_UID = 65_533;
const MODEST_UID = 12_345;

const EVERYTHING = `
[[rule]]
topics = [">"]
any = true
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
`;

const TOO_OFTEN = /^Cannot serve client: uid 65533 connects more than 128 times a second, and 256 /;

const MIB = 1024 * 1024;
const BODY_BYTES = 1_008;
const MESSAGES_PER_PACKET = 60;

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can run clients as other users";

const open: Disposable[] = [];

afterEach(() => {
  for (const client of open.splice(0)) client[Symbol.dispose]();
});

async function clientAs(uid: number, broker: SpawnedBroker): Promise<RawClient> {
  const client = await openAs(uid, broker.path);
  open.push(client);
  return client;
}

/** Publishes so many bytes in frames of 1 KiB. @returns messages */
async function flood(publisher: RawClient, topic: number, bytes: number): Promise<number> {
  const body = new Uint8Array(BODY_BYTES);
  const packet = packetOf((writer) => {
    for (let count = 0; count < MESSAGES_PER_PACKET; count += 1) {
      writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body);
    }
  });
  const packets = Math.ceil(bytes / packet.byteLength);
  for (let count = 0; count < packets; count += 1) await publisher.sendEventually(packet);
  await publisher.sync();
  return packets * MESSAGES_PER_PACKET;
}

/** Reads all messages and gaps until as many are accounted for. */
async function account(
  client: RawClient,
  expected: number,
): Promise<{ got: number; lost: number }> {
  let got = 0;
  let lost = 0;
  await eventually(() => {
    for (const frame of client.received()) {
      if (frame.opcode === OPCODE.MESSAGE) got += 1;
      if (frame.opcode !== OPCODE.GAP) continue;
      expect(mapOf(frame)["reason"]).toBe(GAP_REASON.SEND_QUEUE_FULL);
      lost += Number(mapOf(frame)["count"]);
    }
    return got + lost >= expected;
  }, "every message came or was told as lost");
  return { got, lost };
}

describe("bytes that wait", () => {
  testUnless(
    !isRoot,
    NOT_ROOT,
    "are charged to who does not read: another user's slow subscriber loses nothing",
    async () => {
      const policy = `${EVERYTHING}\n[limits]\nqueued-bytes = ${8 * MIB}\n`;
      await using broker = await spawnBroker({ policy });
      const greedy: RawClient[] = [];
      for (let count = 0; count < 100; count += 1) {
        const client = await clientAs(GREEDY_UID, broker);
        await client.subscribe("flood");
        greedy.push(client);
      }
      const publisher = await clientAs(0, broker);
      const topic = await publisher.openTopic("flood");
      await flood(publisher, topic, 4 * MIB);
      const slow = await clientAs(MODEST_UID, broker);
      await slow.subscribe("flood");
      const messages = await flood(publisher, topic, 4 * MIB);

      expect(await account(slow, messages)).toEqual({ got: messages, lost: 0 });
      const entries = (await asRoot(broker)) as { uid: number; missed: number; quotas: Quotas }[];
      const ofGreedy = entries.find(({ uid }) => uid === GREEDY_UID);
      expect(ofGreedy?.missed).toBeGreaterThan(0);
      expect(ofGreedy?.quotas["queuedBytes"]?.used).toBeLessThanOrEqual(8 * MIB);
    },
  );

  test("leave a connection its share, whatever its siblings hold", async () => {
    const policy = `${EVERYTHING}\n[limits]\nqueued-bytes = ${8 * MIB}\n`;
    await using broker = await spawnBroker({ policy });
    using first = await RawClient.open(broker.path);
    using second = await RawClient.open(broker.path);
    using publisher = await RawClient.open(broker.path);
    await first.subscribe("flood");
    const topic = await publisher.openTopic("flood");
    await flood(publisher, topic, 16 * MIB);
    await second.subscribe("flood");
    const messages = await flood(publisher, topic, 2 * MIB);
    expect(await account(second, messages)).toEqual({ got: messages, lost: 0 });
  });
});

describe("a client among thirty greedy ones of its user", () => {
  test("can still open its share of topics, subscriptions and services", async () => {
    const limits = "connections = 32\ntopics = 1600\nsubscriptions = 960\nservices = 800";
    const rights = 'allow = ["publish", "subscribe", "serve"]';
    const everything = `[[rule]]\ntopics = [">"]\nany = true\n${rights}\n`;
    await using broker = await spawnBroker({ policy: `${everything}\n[limits]\n${limits}\n` });
    for (let count = 0; count < 30; count += 1) {
      const greedy = await RawClient.open(broker.path);
      open.push(greedy);
      await takeAll(greedy, OPCODE.SUBSCRIBE, "pattern");
      await takeAll(greedy, OPCODE.SERVE, "service", `${count}`);
      await takeAll(greedy, OPCODE.OPEN_TOPIC, "topic");
    }
    using modest = await RawClient.open(broker.path);
    // A quarter of each, for 32 connections and eight of administrators. A service needs a topic.
    expect(await takeAll(modest, OPCODE.SUBSCRIBE, "pattern")).toBe(6);
    expect(await takeAll(modest, OPCODE.SERVE, "service", "modest")).toBe(5);
    expect(await takeAll(modest, OPCODE.OPEN_TOPIC, "topic")).toBe(5);
  });
});

/** Asks for one after the other until it is refused. @returns how many it got */
async function takeAll(
  client: RawClient,
  opcode: number,
  key: string,
  prefix = "t",
): Promise<number> {
  for (let taken = 0; ; taken += 1) {
    const answer = await client.requestFrame(opcode, { [key]: `${prefix}.${taken}` });
    if (answer.opcode === OPCODE.ERROR) return taken;
  }
}

type Quotas = Record<string, { used: number; limit: number } | undefined>;

/** What root is told of each user. */
async function asRoot(broker: SpawnedBroker): Promise<unknown[]> {
  await using bus = await connect({ path: broker.path });
  return await Array.fromAsync(bus.query("stats"));
}

describe("a client that is refused more", () => {
  test("is told which figure reached which limit, and so is the log", async () => {
    const policy = `${EVERYTHING}\n[limits]\ntopics = 4\nsubscriptions = 2\n`;
    await using broker = await spawnBroker({ policy });
    using client = await RawClient.open(broker.path);
    await client.openTopic("t.1");
    await client.openTopic("t.2");
    const refused = await client.requestFrame(OPCODE.OPEN_TOPIC, { topic: "t.3" });
    const uid = process.getuid?.() ?? 0;
    expect(mapOf(refused)).toEqual({
      status: STATUS.LIMIT_TOPICS,
      message: `Cannot open topic "t.3": topics: 2 of 2 of one connection of uid ${uid}`,
      topic: "t.3",
      limit: 2,
      actual: 2,
    });
    await client.subscribe("s.1");
    const { status, limit, actual } = mapOf(
      await client.requestFrame(OPCODE.SUBSCRIBE, { pattern: "s.2" }),
    );
    expect([status, limit, actual]).toEqual([STATUS.LIMIT_SUBSCRIPTIONS, 1, 1]);
    const event = await eventually(() => broker.find("limited"), "the broker told of it");
    expect(event).toMatchObject({ code: "LIMIT_TOPICS", topic: "t.3", limit: 2, actual: 2 });
  });

  test("gets more once it gives some back", async () => {
    await using broker = await spawnBroker({ policy: `${EVERYTHING}\n[limits]\ntopics = 2\n` });
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("t.1");
    expect((await client.requestFrame(OPCODE.OPEN_TOPIC, { topic: "t.2" })).opcode).toBe(
      OPCODE.ERROR,
    );
    client.send(
      packetOf((writer) => writer.appendControl(OPCODE.CLOSE_TOPIC, 0, topic, undefined)),
    );
    expect(await client.openTopic("t.2")).toBeGreaterThan(0);
  });

  test("leaves nothing charged when it goes", async () => {
    await using broker = await spawnBroker({ policy: `${EVERYTHING}\n[limits]\ntopics = 2\n` });
    for (let round = 0; round < 3; round += 1) {
      using client = await RawClient.open(broker.path);
      await eventually(async () => {
        const answer = await client.requestFrame(OPCODE.OPEN_TOPIC, { topic: `t.${round}` });
        return answer.opcode === OPCODE.ACK;
      }, "the topic of the client before was released");
    }
  });

  test("pays for services as for topics, and gets back what it does not use any more", async () => {
    await using broker = await spawnBroker({
      policy: `${POLICY_OF_CALLS}\n[limits]\ntopics = 8\n`,
    });
    const used = async (client: RawClient): Promise<unknown> => {
      await using bus = await connect({ path: broker.path });
      const [whois] = await Array.fromAsync(
        bus.query("client", { about: String(client.connection) }),
      );
      return (whois as { quotas: Quotas }).quotas["topics"];
    };
    using client = await RawClient.open(broker.path);
    using other = await RawClient.open(broker.path);
    const { service: served } = await client.request(OPCODE.SERVE, { service: "a" });
    const { service: watched } = await client.request(OPCODE.WATCH, { service: "a" });
    const opened = await client.openService("a");
    await client.openService("a");
    await client.openTopic("b");
    expect(await used(client)).toMatchObject({ used: 4, limit: 4, usedByUser: 4 });
    const status = STATUS.LIMIT_TOPICS;
    const refused = await client.requestFrame(OPCODE.OPEN_SERVICE, { service: "c" });
    expect(mapOf(refused)).toMatchObject({ status, topic: "c", limit: 4, actual: 4 });
    const tie = await client.requestFrame(OPCODE.SERVE, { service: "d" });
    const serviceLimit = { status: STATUS.LIMIT_SERVICES, limit: 4, actual: 4 };
    expect(mapOf(tie)).toMatchObject(serviceLimit);
    await other.request(OPCODE.SERVE, { service: "a", ifOwned: "queue" });
    await other.request(OPCODE.SERVE, { service: "a", ifOwned: "queue" });
    expect(await used(other)).toMatchObject({ used: 1, usedByUser: 5 });
    await client.request(OPCODE.UNSERVE, { service: Number(served) });
    await client.request(OPCODE.UNWATCH, { service: Number(watched) });
    client.send(
      packetOf((writer) => writer.appendControl(OPCODE.CLOSE_SERVICE, 0, opened, undefined)),
    );
    await client.sync();
    expect(await used(client)).toMatchObject({ used: 1, usedByUser: 2 });
    client[Symbol.dispose]();
    await eventually(async () => {
      const { usedByUser } = (await used(other)) as { usedByUser: number };
      return usedByUser === 1;
    }, "what the client held was released");
  });

  testUnless(!isRoot, NOT_ROOT, "learns how many connections its user may have", async () => {
    const policy = `${EVERYTHING}\n[[limits.user]]\nuid = ${GREEDY_UID}\nconnections = 2\n`;
    await using broker = await spawnBroker({ policy });
    await clientAs(GREEDY_UID, broker);
    await clientAs(GREEDY_UID, broker);
    const third = connectRawAs(GREEDY_UID, broker.path);
    open.push(third);
    const [error] = await third.untilEnd();
    if (error === undefined) throw new Error("The broker said nothing");
    expect(mapOf(error)).toMatchObject({
      status: STATUS.LIMIT_CONNECTIONS,
      message: `Cannot serve client: connections: 2 of 2 of uid ${GREEDY_UID}`,
      limit: 2,
      actual: 2,
    });
    await clientAs(MODEST_UID, broker);
  });
});

describe("a user who connects all the time", () => {
  testUnless(!isRoot, NOT_ROOT, "is told so, then waits, and keeps nobody else out", async () => {
    await using broker = await spawnBroker({ policy: EVERYTHING });
    const crowd: RawClient[] = [];
    const connectSome = (): boolean => {
      for (let count = 0; count < 100; count += 1)
        crowd.push(connectRawAs(GREEDY_UID, broker.path));
      return broker.find("turned-away") !== undefined;
    };
    await eventually(connectSome, "somebody was turned away");
    expect(broker.find("turned-away")).toMatchObject({
      uid: GREEDY_UID,
      code: "LIMIT_CONNECTIONS",
    });
    await clientAs(MODEST_UID, broker);
    open.push(await RawClient.open(broker.path));
    const words = () =>
      crowd.flatMap((client) => client.received()).map((frame) => mapOf(frame)["message"]);
    await eventually(() => words().some((text) => TOO_OFTEN.test(String(text))), "one is told");
    for (const client of crowd) client[Symbol.dispose]();
    const last = await clientAs(GREEDY_UID, broker);
    expect(await last.sync()).toMatchObject({ published: 0 });
  });
});

/** Only the setting limits these: the server runs as the same user. */
const POLICY_OF_CALLS = `
[[rule]]
topics = [">"]
any = true
allow = ["publish", "subscribe", "send-fds", "receive-fds", "call", "serve"]

[[topic]]
topics = ["small"]
message-bytes-max = 16

[[topic]]
topics = ["medium"]
message-bytes-max = 100000
`;

describe("a message that is too large", () => {
  const policy = `${EVERYTHING}
[[topic]]
topics = ["small"]
message-bytes-max = 16

[[topic]]
topics = ["medium"]
message-bytes-max = 100000

[limits]
message-bytes = 200000
`;

  test("goes nowhere, its sender is told, and those around it arrive in order", async () => {
    await using broker = await spawnBroker({ policy });
    using client = await RawClient.open(broker.path);
    await client.subscribe(">");
    const small = await client.openTopic("small");
    const other = await client.openTopic("other");
    client.send(
      packetOf((writer) => {
        const bodies = [8, 17, 16, 4_000, 1];
        for (const bytes of bodies) {
          writer.append(OPCODE.MESSAGE, 0, 0, small, 0, new Uint8Array(bytes));
        }
        writer.append(OPCODE.MESSAGE, 0, 0, other, 0, new Uint8Array(5_000));
      }),
    );
    const figures = await client.sync();
    expect(figures).toMatchObject({ published: 4, matched: 4, delivered: 4, denied: 2 });
    const frames = client.received();
    const sizes = frames.filter(({ opcode }) => opcode === OPCODE.MESSAGE);
    expect(sizes.map(({ body }) => body.byteLength)).toEqual([8, 16, 1, 5_000]);
    const errors = frames.filter(({ opcode }) => opcode === OPCODE.ERROR).map(mapOf);
    const status = STATUS.LIMIT_MESSAGE_BYTES;
    expect(errors).toMatchObject([
      { status, topic: "small", limit: 16, actual: 17 },
      { status, topic: "small", limit: 16, actual: 4_000 },
    ]);
  });

  test("is told of a few times only where one packet holds very many", async () => {
    await using broker = await spawnBroker({ policy });
    using client = await RawClient.open(broker.path);
    const small = await client.openTopic("small");
    const body = new Uint8Array(17);
    client.send(
      packetOf((writer) => {
        for (let count = 0; count < 1_000; count += 1) {
          writer.append(OPCODE.MESSAGE, 0, 0, small, 0, body);
        }
      }),
    );
    expect(await client.sync()).toMatchObject({ published: 0, denied: 1_000 });
    const errors = client.received().filter(({ opcode }) => opcode === OPCODE.ERROR);
    expect(errors).toHaveLength(16);
  });

  test("is not kept as a last value either", async () => {
    await using broker = await spawnBroker({ policy });
    await using bus = await connect({ path: broker.path });
    bus.publish("small", new Uint8Array(16), { retain: true });
    bus.publish("small", new Uint8Array(17), { retain: true });
    const error = await bus.flush().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "LIMIT_MESSAGE_BYTES", limit: 16, actual: 17 });
    bus.publish("medium", new Uint8Array(100_001), { retain: true });
    const second = await bus.flush().catch((reason: unknown) => reason);
    expect(second).toMatchObject({ limit: 100_000, actual: 100_001 });
    await using kept = await bus.subscribe(">");
    const { value } = await kept.next();
    expect(value?.bytes).toHaveLength(16);
  });

  test("is refused as a request, and as a reply: the call ends with it", async () => {
    await using broker = await spawnBroker({ policy: POLICY_OF_CALLS });
    await using server = await connect({ path: broker.path });
    await using bus = await connect({ path: broker.path });
    await server.serve("small", ({ data }) => new Uint8Array(Number(data)));
    await server.serve("medium", ({ data }) => new Uint8Array(Number(data)));
    const failure = (name: string, data: unknown) =>
      bus.call(name, data).catch((reason: unknown) => reason);
    const code = "LIMIT_MESSAGE_BYTES";
    expect(await failure("small", "x".repeat(17))).toMatchObject({ code, limit: 16, actual: 17 });
    expect(await failure("small", "17")).toMatchObject({ code, limit: 16, actual: 17 });
    const large = { code, limit: 100_000, actual: 100_001 };
    expect(await failure("medium", new Uint8Array(100_001))).toMatchObject(large);
    expect(await failure("medium", "100001")).toMatchObject(large);
    expect((await bus.call("small", "16")).bytes).toHaveLength(16);
    expect((await bus.call("medium", "100000")).bytes).toHaveLength(100_000);
  });

  test("is refused in memory of its own, too: by the topic, or by the user's limit", async () => {
    await using broker = await spawnBroker({ policy });
    await using bus = await connect({ path: broker.path });
    bus.publish("medium", new Uint8Array(100_001));
    const error = await bus.flush().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LimitError);
    const code = "LIMIT_MESSAGE_BYTES";
    expect(error).toMatchObject({ code, limit: 100_000, actual: 100_001 });
    bus.publish("other", new Uint8Array(200_001));
    const second = await bus.flush().catch((reason: unknown) => reason);
    expect(second).toMatchObject({ code, limit: 200_000, actual: 200_001 });
    bus.publish("other", new Uint8Array(200_000));
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });
});
