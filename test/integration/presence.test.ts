/** What the broker tells on the `$bus` topics, to whom, and that it says it itself. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { ENCODING, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";

const OWN_UID = process.getuid?.() ?? 0;
const GUEST_UID = 34_567;

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

/** The next message, with the names of topics learnt on the way. */
class Listener implements Disposable {
  readonly client: RawClient;
  readonly #topics = new Map<number, unknown>();

  private constructor(client: RawClient) {
    this.client = client;
  }

  static async open(pattern: string): Promise<Listener> {
    const client = await RawClient.open(broker.path);
    await client.subscribe(pattern);
    return new Listener(client);
  }

  async next(): Promise<[topic: unknown, data: Record<string, unknown>]> {
    for (;;) {
      const frame = await this.client.next();
      if (frame.opcode === OPCODE.TOPIC) this.#topics.set(frame.id, mapOf(frame)["topic"]);
      if (frame.opcode !== OPCODE.MESSAGE) continue;
      expect(frame).toMatchObject({ flags: ENCODING.JSON, origin: 0 });
      return [this.#topics.get(frame.id), JSON.parse(textOf(frame))];
    }
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }
}

describe("$bus topics", () => {
  test("tell who comes and who goes, from the broker itself", async () => {
    using listener = await RawClient.open(broker.path);
    await listener.subscribe("$bus.client.*");
    using other = await RawClient.open(broker.path);
    expect(await listener.next()).toMatchObject({ opcode: OPCODE.TOPIC });
    const sender = await listener.next();
    expect(sender).toMatchObject({ opcode: OPCODE.SENDER, id: 0 });
    expect(mapOf(sender)).toMatchObject({ uid: OWN_UID, pid: broker.pid });
    const identity = {
      connection: other.connection,
      uid: OWN_UID,
      gid: process.getgid?.(),
      pid: process.pid,
    };
    const connected = await listener.next();
    expect(connected).toMatchObject({ opcode: OPCODE.MESSAGE, origin: 0, flags: ENCODING.JSON });
    expect(JSON.parse(textOf(connected))).toMatchObject(identity);
    other.sendMessage(9_999, "no topic");
    expect(await listener.next()).toMatchObject({ opcode: OPCODE.TOPIC });
    expect(JSON.parse(textOf(await listener.next()))).toMatchObject({
      ...identity,
      code: "PROTOCOL_TOPIC_ID",
    });
  });

  test("tell who serves what, by generation", async () => {
    using listener = await Listener.open("$bus.service.>");
    using server = await RawClient.open(broker.path);
    const id = await server.serve("presence.one");
    const [topic, first] = await listener.next();
    expect(topic).toBe("$bus.service.changed");
    expect(first).toMatchObject({ service: "presence.one", owners: [server.connection], count: 1 });
    await server.request(OPCODE.UNSERVE, { service: id });
    const [, second] = await listener.next();
    expect(second).toMatchObject({ service: "presence.one", owners: [], count: 0 });
    expect(Number(second["generation"])).toBeGreaterThan(Number(first["generation"]));
  });

  test("tell who subscribes, also to them, once", async () => {
    using listener = await Listener.open("$bus.subscription.>");
    const [topic, self] = await listener.next();
    expect(topic).toBe("$bus.subscription.added");
    expect(self).toMatchObject({
      connection: listener.client.connection,
      pattern: "$bus.subscription.>",
    });
    using other = await RawClient.open(broker.path);
    const subscription = await other.subscribe("presence.*");
    const about = { connection: other.connection, pattern: "presence.*", uid: OWN_UID };
    expect(await listener.next()).toEqual([
      "$bus.subscription.added",
      expect.objectContaining(about),
    ]);
    await other.request(OPCODE.UNSUBSCRIBE, { subscription });
    expect(await listener.next()).toEqual([
      "$bus.subscription.removed",
      expect.objectContaining(about),
    ]);
    await listener.client.sync();
    expect(listener.client.received()).toEqual([]);
  });

  test("reach subscribers of the library, and nobody who subscribes to `>` alone", async () => {
    await using bus = await connect({ path: broker.path });
    const told = await bus.subscribe("$bus.client.connected");
    const everything = await bus.subscribe(">");
    using other = await RawClient.open(broker.path);
    const { value: message } = await told.next();
    expect(message?.topic).toBe("$bus.client.connected");
    expect(message?.data).toMatchObject({ connection: other.connection });
    expect(message?.sender).toMatchObject({ uid: OWN_UID, pid: broker.pid });
    const topic = await other.openTopic("presence.plain");
    other.sendMessage(topic, "plain");
    expect((await everything.next()).value?.topic).toBe("presence.plain");
  });

  test("are nobody's to publish on or to serve", async () => {
    using client = await RawClient.open(broker.path);
    const name = "$bus.client.connected";
    for (const [opcode, body] of [
      [OPCODE.OPEN_TOPIC, { topic: name }],
      [OPCODE.SERVE, { service: name }],
    ] as const) {
      expect(mapOf(await client.requestFrame(opcode, body))["status"]).toBe(
        STATUS.REJECTED_TOPIC_NAME,
      );
    }
  });

  testUnless(
    process.getuid?.() !== 0,
    "only root can run clients as other users",
    "are told to those whom the policy lets read them",
    async () => {
      await using guarded = await spawnBroker({
        policy: `
[[rule]]
allow = ["subscribe"]
topics = ["$bus.client.>"]
uid = ${GUEST_UID}
`,
      });
      await using guest = await connectAs(GUEST_UID, guarded.path);
      using other = await RawClient.open(guarded.path);
      const refused = await other.requestFrame(OPCODE.SUBSCRIBE, { pattern: "$bus.client.>" });
      expect(mapOf(refused)["status"]).toBe(STATUS.REJECTED_BY_POLICY);
      expect((await guest.failureOf("subscribe", "$bus.service.>")).code).toBe(
        "REJECTED_BY_POLICY",
      );
      await guest.call("subscribe", "$bus.>");
      using third = await RawClient.open(guarded.path);
      const [message] = await guest.call("messages", 1);
      expect(message).toMatchObject({
        topic: "$bus.client.connected",
        data: { connection: third.connection },
        sender: { uid: OWN_UID, pid: guarded.pid },
      });
    },
  );
});
