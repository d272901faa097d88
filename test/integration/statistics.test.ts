/** What the broker says of itself: figures that add up, and who may see them. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type QueryEntry } from "../../src/client/index.ts";
import {
  FLAG_FAILED,
  FLAG_MORE,
  FLAG_STREAM,
  FLAG_TIMED_OUT,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import type { QuerySubject } from "../../src/protocol/words.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, packetOf, RawClient } from "../support/raw-client.ts";
import { openAs } from "../support/raw-user.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

const ALICE = 12_345;
const BOB = 23_456;
const CAROL = 34_567;

const POLICY = `
[[rule]]
topics = [">"]
any = true
allow = ["publish", "subscribe"]

[[rule]]
topics = ["open.>", "closed.>"]
any = true
allow = ["serve"]

[[rule]]
topics = ["open.>"]
any = true
allow = ["call"]

[[topic]]
topics = ["block.>"]
overflow = "block"
`;

const NO_BODY = new Uint8Array(0);

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can run clients as other users";

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker({ policy: POLICY });
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

async function ask(what: QuerySubject, about?: string): Promise<QueryEntry[]> {
  await using bus = await connect({ path: broker.path });
  return await Array.fromAsync(bus.query(what, about === undefined ? {} : { about }));
}

/** The same by a client that is there anyway, with all its answers. */
async function askAs(client: RawClient, what: QuerySubject): Promise<QueryEntry[]> {
  const entries: QueryEntry[] = [];
  let after: string | undefined;
  do {
    const question = after === undefined ? { what } : { what, after };
    const { answer, next } = await client.request(OPCODE.QUERY, question);
    entries.push(...(JSON.parse(String(answer)) as QueryEntry[]));
    after = next === undefined ? undefined : String(next);
  } while (after !== undefined);
  return entries;
}

function publish(client: RawClient, topic: number, count: number): void {
  client.send(
    packetOf((writer) => {
      for (let number = 0; number < count; number += 1) {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new Uint8Array(8));
      }
    }),
  );
}

describe("figures", () => {
  testUnless(
    !isRoot,
    NOT_ROOT,
    "add up, by connection, topic and user, also when the clients are gone",
    async () => {
      const frameBytes = 24;
      const before = await ask("stats");
      const publisher = await openAs(ALICE, broker.path);
      const all = await openAs(ALICE, broker.path);
      const some = await openAs(BOB, broker.path);
      await all.subscribe("sum.>");
      await some.subscribe("sum.a");
      const [a, b, c] = [
        await publisher.openTopic("sum.a"),
        await publisher.openTopic("sum.b"),
        await publisher.openTopic("nobody"),
      ];
      publish(publisher, a, 10);
      await publisher.sync();
      publish(publisher, b, 5);
      publish(publisher, c, 3);
      await publisher.sync();

      const topics = await ask("topics", "sum.*");
      expect(topics).toEqual([
        { topic: "sum.a", publishers: 1, published: 10, delivered: 20, dropped: 0 },
        { topic: "sum.b", publishers: 1, published: 5, delivered: 5, dropped: 0 },
      ]);
      const [whois] = await ask("client", String(publisher.connection));
      expect(whois).toMatchObject({
        uid: ALICE,
        published: 18,
        publishedBytes: 18 * frameBytes,
        matched: 25,
        dropped: 0,
        quotas: { topics: { used: 3, limit: 8_192, usedByUser: 3, limitOfUser: 16_384 } },
      });
      const [other] = await ask("client", String(some.connection));
      expect(other).toMatchObject({ received: 10, receivedBytes: 10 * frameBytes, missed: 0 });

      const expectSums = async (isGone: boolean) => {
        const stats = await ask("stats");
        const [open, gone] = isGone ? [0, 2] : [2, 0];
        expect(stats.find(({ uid }) => uid === ALICE)).toMatchObject({
          connections: open,
          connectionsGone: gone,
          published: 18,
          matched: 25,
          received: 15,
        });
        expect(stats.find(({ uid }) => uid === BOB)).toMatchObject({ published: 0, received: 10 });
        expect(Number(stats[0]?.["published"]) - Number(before[0]?.["published"])).toBe(18);
        expect(Number(stats[0]?.["received"]) - Number(before[0]?.["received"])).toBe(25);
      };
      await expectSums(false);
      for (const client of [publisher, all, some]) client[Symbol.dispose]();
      const isUnused = async () =>
        (await ask("topics", "sum.*")).every(({ publishers }) => publishers === 0);
      await eventually(isUnused, "the clients are gone");
      await expectSums(true);
      const kept = topics.map((topic) => ({ ...topic, publishers: 0 }));
      expect(await ask("topics", "sum.*")).toEqual(kept);
    },
  );

  testUnless(!isRoot, NOT_ROOT, "of a user who has gone tell what is still charged", async () => {
    const publisher = await openAs(CAROL, broker.path);
    const topic = await publisher.openTopic("kept.of.carol");
    const body = new Uint8Array(1_000);
    publisher.send(packetOf((writer) => writer.append(OPCODE.RETAIN, 0, 0, topic, 0, body)));
    await publisher.sync();
    publisher[Symbol.dispose]();
    const ofCarol = async () => (await ask("stats")).find(({ uid }) => uid === CAROL);
    await eventually(async () => (await ofCarol())?.["connections"] === 0, "she has gone");
    expect(await ofCarol()).toMatchObject({
      connectionsGone: 1,
      quotas: { retained: { used: 1 } },
    });
    using other = await RawClient.open(broker.path);
    await other.openTopic("kept.of.carol");
    await other.request(OPCODE.CLEAR_RETAINED, { topic: "kept.of.carol" });
    const isFree = async () => (await ofCarol())?.["quotas"] === undefined;
    await eventually(isFree, "she holds nothing any more");
  });

  test("of a topic go on when somebody opens it again", async () => {
    for (const published of [3, 6]) {
      using publisher = await RawClient.open(broker.path);
      publish(publisher, await publisher.openTopic("again"), 3);
      await publisher.sync();
      const topic = { topic: "again", publishers: 1, published, delivered: 0, dropped: 0 };
      expect(await ask("topics", "again")).toEqual([topic]);
      publisher[Symbol.dispose]();
      const gone = [{ ...topic, publishers: 0 }];
      await eventually(
        async () => Bun.deepEquals(await ask("topics", "again"), gone),
        "it is closed",
      );
    }
  });

  test("count what a subscriber that goes is not sent", async () => {
    using publisher = await RawClient.open(broker.path);
    using subscriber = await RawClient.open(broker.path);
    await subscriber.subscribe("late");
    const topic = await publisher.openTopic("late");
    publish(publisher, topic, 2);
    await publisher.sync();
    await subscriber.request(OPCODE.UNSUBSCRIBE, { subscription: 1 });
    publish(publisher, topic, 4);
    await publisher.sync();
    expect(await ask("topics", "late")).toMatchObject([{ published: 6, delivered: 2 }]);
  });
});

/** Messages, of those that a client has been sent so far. */
function messagesOf(client: RawClient): number {
  return client.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
}

describe("figures of queues and groups", () => {
  test.each(["drop-oldest", "latest-per-topic", "drop-newest"])(
    "take back what %s drops from a queue",
    async (overflow) => {
      using publisher = await RawClient.open(broker.path);
      using slow = await RawClient.open(broker.path);
      const pattern = `${overflow}.*`;
      await slow.request(OPCODE.SUBSCRIBE, { pattern, overflow });
      const topic = await publisher.openTopic(`${overflow}.a`);
      const body = new Uint8Array(1_008);
      const packet = packetOf((writer) => {
        for (let count = 0; count < 60; count += 1) {
          writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body);
        }
      });
      const packets = 200;
      for (let count = 0; count < packets; count += 1) await publisher.sendEventually(packet);
      await publisher.sync();
      const published = packets * 60;
      const [{ received, receivedBytes, missed } = {}] = await ask(
        "client",
        String(slow.connection),
      );
      expect(Number(missed)).toBeGreaterThan(0);
      expect(Number(received) + Number(missed)).toBe(published);
      expect(receivedBytes).toBe(Number(received) * 1_024);
      let got = 0;
      await eventually(() => {
        got += messagesOf(slow);
        return got >= Number(received);
      }, "what was not missed came");
      await slow.sync();
      expect(got + messagesOf(slow)).toBe(Number(received));
    },
  );

  test("count a group once", async () => {
    using publisher = await RawClient.open(broker.path);
    using first = await RawClient.open(broker.path);
    using second = await RawClient.open(broker.path);
    using all = await RawClient.open(broker.path);
    for (const member of [first, second]) {
      await member.request(OPCODE.SUBSCRIBE, { pattern: "work", group: "workers" });
    }
    await all.subscribe("work");
    const topic = await publisher.openTopic("work");
    publish(publisher, topic, 10);
    await publisher.sync();
    expect(await ask("topics", "work")).toMatchObject([{ published: 10, delivered: 20 }]);
    const [whois] = await ask("client", String(publisher.connection));
    expect(whois).toMatchObject({ published: 10, matched: 20, dropped: 0 });
    const received: number[] = [];
    for (const { connection } of [first, second]) {
      const [member] = await ask("client", String(connection));
      received.push(Number(member?.["received"]));
    }
    expect((received[0] ?? 0) + (received[1] ?? 0)).toBe(10);
  });
});

describe("a publisher that is held back", () => {
  testUnless(!isRoot, NOT_ROOT, "is told as such, with those who hold it back", async () => {
    using publisher = await openAs(ALICE, broker.path);
    using sibling = await openAs(ALICE, broker.path);
    using slow = await openAs(BOB, broker.path);
    await slow.subscribe("block.>");
    const topic = await publisher.openTopic("block.a");
    const whois = async (about: RawClient) =>
      (await ask("client", String(about.connection)))[0] ?? {};
    expect(await whois(publisher)).toMatchObject({ state: "open" });
    const packet = packetOf((writer) => {
      for (let count = 0; count < 60; count += 1) {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new Uint8Array(1_008));
      }
    });
    await eventually(async () => {
      for (let count = 0; count < 64; count += 1) if (publisher.trySend(packet) < 0) break;
      return (await whois(publisher))["state"] === "held";
    }, "it is held back");
    const held = { state: "held", heldOn: "block.a", heldMs: expect.any(Number) };
    expect(await whois(publisher)).toMatchObject({ ...held, heldBy: [slow.connection] });
    expect(await whois(slow)).toMatchObject({ state: "open", holdsBack: 1 });
    const seen = (await askAs(sibling, "clients")).filter(({ state }) => state === "held");
    expect(seen).toMatchObject([{ connection: publisher.connection, ...held, heldBy: [] }]);
    await eventually(async () => {
      slow.received();
      return (await whois(publisher))["state"] === "open";
    }, "it goes on");
    expect(Object.keys(await whois(publisher))).not.toContain("heldMs");
    expect(Object.keys(await whois(slow))).not.toContain("holdsBack");
  });
});

describe("QUERY", () => {
  test("goes on where an answer is full, and tells each entry once", async () => {
    using client = await RawClient.open(broker.path);
    const names = Array.from({ length: 1_000 }, (_, number) => `page.of.many.${number}`);
    for (const name of names) {
      await client.openTopic(name);
      await client.subscribe(name);
    }
    const first = await client.request(OPCODE.QUERY, { what: "topics" });
    expect(first["next"]).toBeString();
    expect(String(first["answer"]).length).toBeLessThanOrEqual(16_384);
    const topics = await ask("topics", "page.>");
    // In the order of their ids, which are used again.
    expect(topics.map(({ topic }) => topic).toSorted()).toEqual(names.toSorted());
    const subscriptions = await ask("subscriptions", "page.>");
    expect(subscriptions.map(({ pattern }) => pattern)).toEqual(names);
    expect(await ask("topics", "page.of.many.17")).toHaveLength(1);
  });

  test("goes on behind topics in use with those that are closed", async () => {
    const client = await RawClient.open(broker.path);
    const names = Array.from({ length: 600 }, (_, number) => `closed.page.${number}`);
    for (const name of names) publish(client, await client.openTopic(name), 1);
    await client.sync();
    const [open] = await ask("topics", "closed.page.*");
    expect(open).toMatchObject({ publishers: 1, published: 1 });
    client[Symbol.dispose]();
    const isClosed = async () =>
      (await ask("topics", "closed.page.*")).every(({ publishers }) => publishers === 0);
    await eventually(isClosed, "the topics are closed");
    const topics = await ask("topics", "closed.page.*");
    expect(topics.map(({ topic }) => topic)).toEqual(names.toSorted());
  });

  testUnless(!isRoot, NOT_ROOT, "shows others what is their own user's alone", async () => {
    using alice = await openAs(ALICE, broker.path);
    using bob = await openAs(BOB, broker.path);
    await bob.openTopic("bobs.topic");
    await bob.subscribe("bobs.>");
    await alice.openTopic("alices.topic");
    expect((await askAs(alice, "clients")).map(({ uid }) => uid)).toEqual([ALICE]);
    expect((await askAs(alice, "topics")).map(({ topic }) => topic)).toEqual(["alices.topic"]);
    expect(await askAs(alice, "subscriptions")).toEqual([]);
    const stats = await askAs(alice, "stats");
    expect(stats.map(({ kind }) => kind)).toEqual(["broker", "uid"]);
    expect(Object.keys(stats[0] ?? {})).toEqual(["kind", "software", "uptimeMs"]);
    expect(stats[1]).toMatchObject({ uid: ALICE });
    const about = String(bob.connection);
    const { answer } = await alice.request(OPCODE.QUERY, { what: "client", about });
    expect(answer).toBe("[]");
    expect((await ask("clients")).length).toBeGreaterThanOrEqual(3);
  });

  testUnless(
    !isRoot,
    NOT_ROOT,
    "lists services that are served, to who may call them",
    async () => {
      using alice = await openAs(ALICE, broker.path);
      using bob = await openAs(BOB, broker.path);
      using next = await openAs(BOB, broker.path);
      const names = ["open.a", "closed.b", "open.c"];
      for (const name of names) await bob.serve(name);
      await next.serve("open.a", { ifOwned: "queue" });
      await alice.openService("open.unserved");
      const services = await ask("services");
      // In the order of their ids, which are used again.
      services.sort((a, b) => Number(a["generation"]) - Number(b["generation"]));
      expect(services.map(({ service }) => service)).toEqual(names);
      const owners = [bob.connection];
      expect(services[0]).toMatchObject({ owners, count: 1, waiting: 1 });
      expect(Number(services[2]?.["generation"])).toBeGreaterThan(0);
      const callable = await askAs(alice, "services");
      expect(callable.map(({ service }) => service).toSorted()).toEqual(["open.a", "open.c"]);
      expect(await ask("services", "*.c")).toMatchObject([{ service: "open.c" }]);
      expect(await ask("topics", "open.>")).toEqual([]);
    },
  );

  testUnless(!isRoot, NOT_ROOT, "tells what calls came to, and what last values hold", async () => {
    using alice = await openAs(ALICE, broker.path);
    using bob = await openAs(BOB, broker.path);
    await bob.serve("open.d");
    const id = await alice.openService("open.d");
    for (const call of [1, 2, 3]) alice.sendRequest(id, call, "?");
    await alice.sync();
    bob.sendReply(1, "answer");
    bob.sendReply(1, "late");
    await bob.sync();
    await using bus = await connect({ path: broker.path });
    bus.publish("kept", new Uint8Array(100), { retain: true });
    await bus.flush();
    const [stats] = await ask("stats");
    expect(stats?.["services"]).toMatchObject({ pending: 2, lateReplies: 1 });
    expect(stats?.["retained"]).toMatchObject({ values: 1, bytes: 2_048 + 120 + 4, fds: 0 });
    const [whois] = await ask("client", String(bob.connection));
    expect(whois?.["services"]).toMatchObject({ served: 1, requests: 2, lateReplies: 1 });
    await bus.clearRetained("kept");
    expect((await ask("stats"))[0]?.["retained"]).toEqual({ values: 0, bytes: 0, fds: 0 });
  });

  testUnless(!isRoot, NOT_ROOT, "tells of calls by service, client and user", async () => {
    using alice = await openAs(ALICE, broker.path);
    const bob = await openAs(BOB, broker.path);
    const ofUser = async (user: number) => (await ask("stats")).find(({ uid }) => uid === user);
    const [aliceBefore, bobBefore] = [await ofUser(ALICE), await ofUser(BOB)];
    const id = await alice.openService("open.counted");
    alice.sendRequest(id, 1, "nobody serves it");
    await alice.sync();
    await bob.serve("open.counted");
    for (const call of [2, 3, 4, 5]) alice.sendRequest(id, call, "?", FLAG_STREAM);
    await alice.sync();
    bob.sendReply(1, "part", FLAG_MORE);
    bob.sendReply(1, "the last one");
    bob.sendReply(2, "{}", FLAG_FAILED);
    await bob.sync();
    alice.send(
      packetOf((writer) => writer.append(OPCODE.CANCEL, FLAG_TIMED_OUT, 0, 4, 0, NO_BODY)),
    );
    await alice.sync();
    const ofCaller = { calls: 5, callsFailed: 3 };
    const ofServer = { requests: 4, replies: 2, replyParts: 1 };
    const [service] = await ask("services", "open.counted");
    expect(service).toMatchObject({ count: 1, ...ofCaller, ...ofServer });
    const whois = async ({ connection }: RawClient) => (await ask("client", String(connection)))[0];
    expect(await whois(alice)).toMatchObject({ ...ofCaller, requests: 0, replies: 0 });
    expect(await whois(bob)).toMatchObject({ calls: 0, callsFailed: 0, ...ofServer });
    bob[Symbol.dispose]();
    await eventually(
      async () => (await ask("services", "open.counted"))[0]?.["count"] === 0,
      "nobody serves it",
    );
    const grown = async (user: number, before: QueryEntry | undefined, figure: string) =>
      Number((await ofUser(user))?.[figure]) - Number(before?.[figure] ?? 0);
    expect(await grown(ALICE, aliceBefore, "calls")).toBe(5);
    expect(await grown(BOB, bobBefore, "replies")).toBe(2);
    alice[Symbol.dispose]();
    const left = { ...ofCaller, callsFailed: 4, ...ofServer };
    const isForgotten = async () =>
      (await ask("services", "open.counted"))[0]?.["generation"] === undefined;
    await eventually(isForgotten, "nobody uses it");
    const entry = { service: "open.counted", owners: [], count: 0, waiting: 0, ...left };
    expect(await ask("services", "open.counted")).toEqual([entry]);
  });

  test("refuses a malformed pattern, and takes any `after`", async () => {
    using client = await RawClient.open(broker.path);
    const refused = await client.requestFrame(OPCODE.QUERY, { what: "topics", about: "a..b" });
    expect(mapOf(refused)).toMatchObject({ status: 35 });
    for (const what of ["stats", "clients", "client", "subscriptions", "topics", "services"]) {
      for (const after of ["", "x", "1/2/3", "9999999999999999999", "2/others", "gone/a"]) {
        const answer = await client.request(OPCODE.QUERY, {
          what,
          after,
        });
        expect(JSON.parse(String(answer["answer"]))).toBeArray();
      }
    }
  });
});
