/** Files in messages that a subscriber holds back: who pays for them meanwhile. Real processes. */

import { describe, expect, test } from "bun:test";
import {
  FLAG_FDS_WITHHELD,
  FLAG_RESUME,
  FLAG_WAIT_FDS,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { mapOf, messagePacket, packetOf, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles, takeTexts } from "../support/test-files.ts";

/** Of one user; a connection alone may have half of it on its way. */
const LIMIT = 64;

const POLICY = `[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[topic]]
topics = [">"]
overflow = "block"

[limits]
fds = ${LIMIT}
`;

/** The same where nobody gets files. */
const WITHHOLDING = POLICY.replace(', "receive-fds"', "");

/** What the broker says of a client. */
interface ClientEntry {
  readonly state: string;
  readonly quotas: { readonly fds: { readonly usedByUser: number } };
}

/** A subscriber that holds back whoever publishes on "files". */
class Stage implements AsyncDisposable {
  readonly broker: SpawnedBroker;
  readonly subscriber: RawClient;
  readonly bystander: RawClient;
  readonly #clients: RawClient[];

  constructor(broker: SpawnedBroker, subscriber: RawClient, bystander: RawClient) {
    this.broker = broker;
    this.subscriber = subscriber;
    this.bystander = bystander;
    this.#clients = [subscriber, bystander];
  }

  static async open(policy = POLICY): Promise<Stage> {
    const broker = await spawnBroker({ policy });
    const subscriber = await RawClient.open(broker.path);
    await subscriber.request(OPCODE.SUBSCRIBE, { pattern: "files", overflow: "block" });
    const stage = new Stage(broker, subscriber, await RawClient.open(broker.path));
    await stage.pause();
    return stage;
  }

  async pause(flags = 0): Promise<void> {
    const packet = packetOf((writer) => writer.append(OPCODE.PAUSE, flags, 0, 0, 0, undefined));
    this.subscriber.send(packet);
    await this.subscriber.sync();
  }

  /** A client that has sent a message with so many files. */
  async publisher(count: number): Promise<RawClient> {
    const client = await RawClient.open(this.broker.path);
    this.#clients.push(client);
    await publish(client, count);
    return client;
  }

  /** Waits until so many files of all publishers together are charged, while they are held back. */
  async untilCharged(count: number): Promise<void> {
    await eventually(async () => {
      await this.pause();
      return (await this.charged()) === count;
    }, `${count} files are charged`);
  }

  /** Waits until a publisher is held back. */
  async untilHeld(publisher: RawClient): Promise<void> {
    await eventually(async () => {
      await this.pause();
      return (await this.#ask(publisher)).state === "held";
    }, "the publisher is held back");
  }

  /** By all of them, those that are gone included. */
  async charged(): Promise<number> {
    return (await this.#ask(this.bystander)).quotas.fds.usedByUser;
  }

  async #ask({ connection }: RawClient): Promise<ClientEntry> {
    const question = { what: "client", about: `${connection}` };
    const { answer } = await this.bystander.request(OPCODE.QUERY, question);
    const [client]: ClientEntry[] = JSON.parse(String(answer));
    if (client === undefined) throw new Error("The broker does not know the client");
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client[Symbol.dispose]();
    await this.broker[Symbol.asyncDispose]();
  }
}

async function publish(client: RawClient, count: number): Promise<void> {
  const topic = await client.openTopic("files");
  using files = new TestFiles(new Array<string>(count).fill("text"));
  await client.sendEventually(messagePacket(topic, "text", count), files.fds);
}

describe("files in a message that is held back", () => {
  test("are charged to their sender, and those that do not fit are refused at once", async () => {
    await using stage = await Stage.open();
    const first = await stage.publisher(30);
    await stage.untilCharged(30);
    const second = await stage.publisher(20);
    const error = mapOf(await second.nextOf(OPCODE.ERROR));
    // Three quarters are common, and four of the first one's files are within its share.
    const limit = Math.floor((((LIMIT / 4) * 3 - 26) * 2) / 3);
    const status = STATUS.LIMIT_QUEUED_FDS;
    expect(error).toMatchObject({ status, topic: "files", limit, actual: 20 });
    expect(await second.sync()).toMatchObject({ published: 0, denied: 1 });
    await publish(second, 10);
    await stage.untilCharged(40);
    await stage.pause(FLAG_RESUME);
    // The first one has its place, though beside the second it could not take so much now.
    for (const count of [30, 10]) {
      const frame = await stage.subscriber.nextOf(OPCODE.MESSAGE);
      expect(takeTexts(frame.fds)).toHaveLength(count);
    }
    expect(await first.sync()).toMatchObject({ published: 1, denied: 0 });
    await eventually(async () => (await stage.charged()) === 0, "all were taken");
  });

  test("are no reason to refuse it where they go to nobody", async () => {
    await using stage = await Stage.open(WITHHOLDING);
    using publisher = await RawClient.open(stage.broker.path);
    const fds = await stage.broker.fdsAtRest();
    // More than one connection may have on its way.
    await publish(publisher, LIMIT / 2 + 1);
    await stage.untilHeld(publisher);
    expect(await stage.charged()).toBe(0);
    await stage.pause(FLAG_RESUME);
    const withheld = await stage.subscriber.nextOf(OPCODE.MESSAGE);
    expect(withheld).toMatchObject({ flags: FLAG_FDS_WITHHELD, fds: [] });
    expect(await publisher.sync()).toMatchObject({ published: 1, denied: 0 });
    await stage.broker.expectFds(fds);
  });

  test("keep no SYNC waiting that asks for what was sent before them", async () => {
    await using stage = await Stage.open();
    using taker = await RawClient.open(stage.broker.path);
    await taker.subscribe("other");
    using publisher = await RawClient.open(stage.broker.path);
    const other = await publisher.openTopic("other");
    const topic = await publisher.openTopic("files");
    using files = new TestFiles(["before"]);
    publisher.sendMessage(other, "before", files.fds);
    const sync = await publisher.ask(OPCODE.SYNC, FLAG_WAIT_FDS);
    await publisher.sendEventually(messagePacket(topic, "held", 1), files.fds);
    // One that is on its way, and one that is kept.
    await stage.untilCharged(2);
    const before = await taker.nextOf(OPCODE.MESSAGE);
    expect(takeTexts(before.fds)).toEqual(["before"]);
    const answer = await publisher.answerTo(sync);
    expect(mapOf(answer)).toMatchObject({ published: 1, fdsWaiting: 0 });
    expect(await stage.charged()).toBe(1);
  });

  test("are paid for by nobody once the sender and the subscriber are gone", async () => {
    await using stage = await Stage.open();
    const fds = await stage.broker.fdsAtRest();
    const publishers = [await stage.publisher(20), await stage.publisher(10)];
    await stage.untilCharged(30);
    for (const publisher of publishers) publisher[Symbol.dispose]();
    stage.subscriber[Symbol.dispose]();
    await stage.broker.expectFds(fds - 1);
    await eventually(async () => (await stage.charged()) === 0, "nothing is charged");
  });
});
