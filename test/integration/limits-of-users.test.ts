/**
 * Every limit of the policy holds for the users whom it names and for nobody else, and whoever comes up
 * against one is told the figures: the client in the ERROR, the administrator in an event.
 */

import { describe, expect, test } from "bun:test";
import type { Limits } from "../../src/broker/quotas/quota.ts";
import { LIMIT_KEY_OF } from "../../src/broker/quotas/quota-limits.ts";
import { RETAINED_OVERHEAD_BYTES } from "../../src/broker/retained/limits.ts";
import { SEND_QUEUE_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { PROTOCOL_VERSION } from "../../src/protocol/limits.ts";
import { FLAG_MORE, FLAG_STREAM, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import {
  mapOf,
  messagePacket,
  packetOf,
  type RawClient,
  type RawFrame,
  requestOf,
} from "../support/raw-client.ts";
import { connectRawAs, openAs } from "../support/raw-user.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

/** Whom the override names, and somebody else. */
const LIMITED = 12_345;
const OTHER = 12_346;

const NOT_ROOT = "only root can run clients as other users";
const testAsRoot = testUnless.bind(undefined, process.getuid?.() !== 0, NOT_ROOT);

const MIB = 1024 * 1024;
const BODY_BYTES = 60_000;
/** More than a socket holds and half of a queue, less than a socket and the whole of it. */
const FLOOD_BYTES = SEND_QUEUE_BYTES_MAX;

const RULES = `
[[rule]]
topics = [">"]
any = true
allow = ["publish", "subscribe", "send-fds", "receive-fds", "call", "serve"]

[[topic]]
topics = ["blocked"]
overflow = "block"
`;

/** A broker and its clients. */
class Stage implements AsyncDisposable {
  readonly broker: SpawnedBroker;
  readonly #clients = new DisposableStack();

  private constructor(broker: SpawnedBroker) {
    this.broker = broker;
  }

  static async open(limits: string): Promise<Stage> {
    return new Stage(await spawnBroker({ policy: `${RULES}\n${limits}` }));
  }

  async client(uid: number): Promise<RawClient> {
    return this.#clients.use(await openAs(uid, this.broker.path));
  }

  /** The first frame that a new connection gets for its HELLO. */
  async greeting(uid: number): Promise<RawFrame> {
    const client = this.#clients.use(connectRawAs(uid, this.broker.path));
    const hello = { protocol: PROTOCOL_VERSION, features: 0 };
    // Who is refused may be shut out before it has said so.
    client.trySend(packetOf((writer) => writer.appendControl(OPCODE.HELLO, 0, 0, hello)));
    return await client.next();
  }

  /** Publishes so many bytes, as root. */
  async flood(topic: string, bytes: number): Promise<void> {
    const publisher = await this.client(0);
    const packet = messagePacket(await publisher.openTopic(topic), new Uint8Array(BODY_BYTES));
    for (let sent = 0; sent < bytes; sent += BODY_BYTES) await publisher.sendEventually(packet);
    await publisher.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#clients.dispose();
    await this.broker[Symbol.asyncDispose]();
  }
}

/** How one limit is come up against. */
interface Trial {
  /** What the policy allows. */
  readonly value: number;
  /** What whoever has no more is told: half of it for one connection, where it is a sum. */
  readonly limit: number;
  readonly code: StatusName;
  /** As this user uses up what LIMITED has, and one more. @returns the ERROR, if there was one */
  readonly goBeyond: (stage: Stage, uid: number) => Promise<RawFrame | undefined>;
}

/** Sends requests as one client. @returns the first ERROR */
function requests(opcode: number, bodies: readonly Record<string, string>[]): Trial["goBeyond"] {
  return async (stage, uid) => {
    const client = await stage.client(uid);
    for (const body of bodies) {
      const answer = await client.requestFrame(opcode, body);
      if (answer.opcode === OPCODE.ERROR) return answer;
    }
    return undefined;
  };
}

/** Reads what waits in the client's socket. @returns the first ERROR */
function errorOf(client: RawClient): RawFrame | undefined {
  const frames = client.received();
  for (const fd of frames.flatMap(({ fds }) => fds)) closeFd(fd);
  return frames.find(({ opcode }) => opcode === OPCODE.ERROR);
}

/** Once the broker has done all that the client asked. @returns the first ERROR */
async function errorAfter(client: RawClient): Promise<RawFrame | undefined> {
  await client.sync();
  return errorOf(client);
}

/**
 * A client of this user and, behind it, one of LIMITED do the same until the latter is ended for it.
 * @returns the ERROR that the former got by then
 */
async function besideLimited(
  stage: Stage,
  uid: number,
  use: (client: RawClient) => Promise<unknown>,
  publish: () => Promise<unknown>,
): Promise<RawFrame | undefined> {
  const client = await stage.client(uid);
  const witness = await stage.client(LIMITED);
  await use(client);
  await use(witness);
  await publish();
  const isOver = () =>
    stage.broker.findAll("disconnected").some((event) => event.connection === witness.connection);
  await eventually(isOver, "the client of the limited user was ended");
  return errorOf(client);
}

async function retain(stage: Stage, uid: number, bytes: number): Promise<RawFrame | undefined> {
  const client = await stage.client(uid);
  for (const name of ["a", "b"]) {
    const topic = await client.openTopic(name);
    const body = new Uint8Array(8 + bytes);
    client.send(packetOf((writer) => writer.append(OPCODE.RETAIN, 0, 0, topic, 0, body)));
  }
  return await errorAfter(client);
}

const TRIALS: { readonly [R in keyof Limits]: Trial } = {
  connections: {
    value: 2,
    limit: 2,
    code: "LIMIT_CONNECTIONS",
    goBeyond: async (stage, uid) => {
      await stage.client(uid);
      await stage.client(uid);
      const greeting = await stage.greeting(uid);
      return greeting.opcode === OPCODE.ERROR ? greeting : undefined;
    },
  },
  subscriptions: {
    value: 2,
    limit: 1,
    code: "LIMIT_SUBSCRIPTIONS",
    goBeyond: requests(OPCODE.SUBSCRIBE, [{ pattern: "a" }, { pattern: "b" }]),
  },
  groups: {
    value: 2,
    limit: 1,
    code: "LIMIT_SUBSCRIPTIONS",
    goBeyond: requests(OPCODE.SUBSCRIBE, [
      { pattern: "a", group: "one" },
      { pattern: "b", group: "one" },
      { pattern: "b", group: "two" },
    ]),
  },
  topics: {
    value: 2,
    limit: 1,
    code: "LIMIT_TOPICS",
    goBeyond: requests(OPCODE.OPEN_TOPIC, [{ topic: "a" }, { topic: "b" }]),
  },
  services: {
    value: 2,
    limit: 1,
    code: "LIMIT_SERVICES",
    goBeyond: requests(OPCODE.SERVE, [{ service: "a" }, { service: "b" }]),
  },
  queuedBytes: {
    value: 2 * MIB,
    limit: MIB,
    code: "LIMIT_SLOW_READER",
    goBeyond: async (stage, uid) => {
      const client = await stage.client(uid);
      await client.request(OPCODE.SUBSCRIBE, { pattern: "flood", overflow: "disconnect" });
      await stage.flood("flood", FLOOD_BYTES);
      return errorOf(client);
    },
  },
  retained: {
    value: 2,
    limit: 1,
    code: "LIMIT_RETAINED",
    goBeyond: (stage, uid) => retain(stage, uid, 8),
  },
  retainedBytes: {
    value: 4 * RETAINED_OVERHEAD_BYTES,
    limit: 2 * RETAINED_OVERHEAD_BYTES,
    code: "LIMIT_RETAINED",
    goBeyond: (stage, uid) => retain(stage, uid, 8),
  },
  fds: {
    value: 2,
    limit: 1,
    code: "LIMIT_QUEUED_FDS",
    goBeyond: async (stage, uid) => {
      using files = new TestFiles(["one", "two"]);
      await (await stage.client(0)).subscribe("files");
      const client = await stage.client(uid);
      client.sendMessage(await client.openTopic("files"), "", files.fds);
      return await errorAfter(client);
    },
  },
  pendingCalls: {
    value: 2,
    limit: 1,
    code: "LIMIT_PENDING_CALLS",
    goBeyond: async (stage, uid) => {
      await (await stage.client(0)).serve("deaf");
      const client = await stage.client(uid);
      const service = await client.openService("deaf");
      client.sendRequest(service, 1_001, "?");
      client.sendRequest(service, 1_002, "?");
      return await errorAfter(client);
    },
  },
  messageBytes: {
    value: 16,
    limit: 16,
    code: "LIMIT_MESSAGE_BYTES",
    goBeyond: async (stage, uid) => {
      const client = await stage.client(uid);
      client.sendMessage(await client.openTopic("a"), new Uint8Array(17));
      return await errorAfter(client);
    },
  },
  fdTtlMs: {
    value: 1_000,
    limit: 1_000,
    code: "LIMIT_QUEUED_FDS",
    goBeyond: async (stage, uid) => {
      using files = new TestFiles(["one"]);
      const publisher = await stage.client(0);
      const topic = await publisher.openTopic("files");
      const publish = async () => publisher.sendMessage(topic, "", files.fds);
      return await besideLimited(stage, uid, (client) => client.subscribe("files"), publish);
    },
  },
  stallMs: {
    value: 1_000,
    limit: 1_000,
    code: "LIMIT_SLOW_READER",
    goBeyond: async (stage, uid) => {
      const publisher = await stage.client(0);
      const packet = messagePacket(
        await publisher.openTopic("blocked"),
        new Uint8Array(BODY_BYTES),
      );
      const subscribe = (client: RawClient) =>
        client.request(OPCODE.SUBSCRIBE, { pattern: "blocked", overflow: "block" });
      // Both are full and hold the publisher back long before the end.
      const publish = async () => {
        await eventually(() => {
          while (publisher.trySend(packet) > 0);
          return stage.broker.find("disconnected") !== undefined;
        }, "the one that was limited was closed");
      };
      return await besideLimited(stage, uid, subscribe, publish);
    },
  },
};

/** The figures of an event with this code, as the client was told them. */
function expectEvent(stage: Stage, code: StatusName, frame: RawFrame): Promise<unknown> {
  const { limit, actual } = mapOf(frame);
  const isIt = (event: object) =>
    "code" in event &&
    event.code === code &&
    "limit" in event &&
    event.limit === limit &&
    "actual" in event &&
    event.actual === actual;
  return eventually(() => stage.broker.events.some(isIt), "the administrator was told the same");
}

describe("a limit of [[limits.user]]", () => {
  const names = Object.keys(TRIALS) as (keyof Limits)[];

  for (const name of names) {
    const { value, limit, code, goBeyond } = TRIALS[name];
    const key = LIMIT_KEY_OF[name];

    testAsRoot(`holds for its user alone, who is told it: ${key}`, async () => {
      const limits = `[[limits.user]]\nuid = ${LIMITED}\n${key} = ${value}`;
      await using stage = await Stage.open(limits);
      const refused = await goBeyond(stage, LIMITED);
      if (refused === undefined) throw new Error("The user got more than it may have");
      expect(mapOf(refused)).toMatchObject({ status: STATUS[code], limit });
      expect(Number(mapOf(refused)["actual"])).toBeGreaterThanOrEqual(limit);
      await expectEvent(stage, code, refused);
      await using another = await Stage.open(limits);
      expect(await goBeyond(another, OTHER)).toBeUndefined();
    });
  }
});

/** The limits that no policy sets. */
const FIXED: { readonly [C in StatusName]?: (stage: Stage) => Promise<RawFrame | undefined> } = {
  LIMIT_CONTROL_QUEUE: async (stage) => {
    const client = await stage.client(0);
    await client.subscribe("flood");
    await stage.flood("flood", 3 * FLOOD_BYTES);
    // Each is answered with an error, which waits for the client.
    const request = packetOf((writer) => {
      writer.appendControl(OPCODE.UNSUBSCRIBE, 0, 1, { subscription: 4_294_967_295 });
    });
    await eventually(() => {
      for (let count = 0; count < 64; count += 1) if (client.trySend(request) < 0) break;
      return stage.broker.find("disconnected");
    }, "the client was ended");
    return (await client.untilEnd()).at(-1);
  },
  LIMIT_REPLY: async (stage) => {
    const caller = await stage.client(0);
    const responder = await stage.client(0);
    await responder.serve("long");
    caller.sendRequest(await caller.openService("long"), 1, "", FLAG_STREAM);
    const stream = requestOf(await responder.nextOf(OPCODE.REQUEST)).call;
    const parts = Math.ceil((3 * FLOOD_BYTES) / BODY_BYTES);
    caller.sendControl(OPCODE.CREDIT, 1, { count: parts });
    await responder.nextOf(OPCODE.CREDIT);
    const body = new Uint8Array(BODY_BYTES);
    const part = packetOf((writer) => writer.append(OPCODE.REPLY, FLAG_MORE, 0, stream, 0, body));
    for (let count = 0; count < parts; count += 1) await responder.sendEventually(part);
    return await caller.nextOf(OPCODE.ERROR);
  },
};

describe("a limit that no policy sets", () => {
  test.each(Object.entries(FIXED))("is told with its figures: %s", async (code, reach) => {
    await using stage = await Stage.open("");
    const frame = await reach(stage);
    if (frame === undefined) throw new Error("The client was told nothing");
    const name = code as StatusName;
    expect(mapOf(frame)).toMatchObject({ status: STATUS[name] });
    const { limit, actual } = mapOf(frame);
    expect(Number(limit)).toBeGreaterThanOrEqual(SEND_QUEUE_BYTES_MAX);
    // With what found no room.
    expect(Number(actual)).toBeGreaterThan(Number(limit));
    await expectEvent(stage, name, frame);
  });
});

test("these tests come up against every limit that the wire knows", () => {
  const codes = Object.keys(STATUS).filter((name) => name.startsWith("LIMIT_"));
  const tried = Object.values(TRIALS).map(({ code }) => code);
  expect([...new Set([...tried, ...Object.keys(FIXED)])].toSorted()).toEqual(codes.toSorted());
});
