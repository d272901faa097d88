/**
 * Last values with files: who may leave which, how many are kept, and who is given them later. Real
 * brokers, and clients that say what the library would not.
 */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  FLAG_FDS_WITHHELD,
  FLAG_LARGE,
  FLAG_RETAINED,
  OPCODE,
  WITHHELD_REASON,
} from "../../src/protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../src/protocol/status-codes.ts";
import { mapOf, RawClient, type RawFrame, textOf } from "../support/raw-client.ts";
import { retainPacket } from "../support/retain-packet.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { numberedTexts, TestFiles, takeTexts } from "../support/test-files.ts";
import { memoryOf } from "../support/test-memory.ts";

/** Of these a user may have half kept. */
const FDS_LIMIT = 8;
const LARGE_BYTES = 70_000;

const POLICY = `
[[rule]]
id = "all"
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true
[[rule]]
id = "no-files-out"
deny = ["receive-fds"]
topics = ["blind.>", "whole.>"]
any = true
[[rule]]
id = "no-files-in"
deny = ["send-fds"]
topics = ["mute.>"]
any = true
[[topic]]
topics = ["whole.>"]
fds-denied = "drop"
[[topic]]
topics = ["pipes.>"]
fds = ["pipe"]
[limits]
fds = ${FDS_LIMIT}
`;

let broker: SpawnedBroker;
let writer: RawClient;
/** Fds of the broker with the writer and nothing kept. */
let fdsAtRest: number;

beforeEach(async () => {
  broker = await spawnBroker({ policy: POLICY });
  writer = await RawClient.open(broker.path);
  fdsAtRest = broker.countFds();
});

afterEach(async () => {
  writer[Symbol.dispose]();
  await broker[Symbol.asyncDispose]();
});

/** Leaves a last value with memory files. @returns what SYNC says of it */
async function retain(topic: string, texts: readonly string[]): Promise<object> {
  const topicId = await writer.openTopic(topic);
  using files = new TestFiles(texts);
  writer.send(retainPacket(topicId, topic, { fdCount: texts.length }), files.fds);
  return await writer.sync();
}

/** Leaves a large one with a body of one's own making. @returns what SYNC says of it */
async function retainLarge(topic: string, seals?: number): Promise<object> {
  const topicId = await writer.openTopic(topic);
  using memory = memoryOf(new Uint8Array(LARGE_BYTES), seals);
  const size = new Uint8Array(new BigUint64Array([BigInt(LARGE_BYTES)]).buffer);
  writer.send(retainPacket(topicId, size, { fdCount: 1, flags: FLAG_LARGE }), [memory.number]);
  return await writer.sync();
}

/** The refusal that came, which must be the only one. */
function refusal(): Record<string, unknown> {
  const errors = writer.received().filter(({ opcode }) => opcode === OPCODE.ERROR);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatchObject({ id: 0, flags: 0 });
  return mapOf(errors[0] as RawFrame);
}

function messagesAt(reader: RawClient): RawFrame[] {
  return reader.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE);
}

/** Whether a last value stood there, which is cleared now. */
async function clear(topic: string): Promise<unknown> {
  return (await writer.request(OPCODE.CLEAR_RETAINED, { topic }))["cleared"];
}

describe("RETAIN with files", () => {
  test("is refused beyond half of the files that its user may have", async () => {
    expect(await retain("state.a", numberedTexts("file", 3))).toMatchObject({ published: 1 });
    expect(await retain("state.b", ["x", "y"])).toMatchObject({ published: 0, denied: 1 });

    const figures = { limit: FDS_LIMIT / 2, actual: 5 };
    const message = 'Cannot keep a last value of "state.b": it would be 5 files, limit is 4';
    const { LIMIT_RETAINED: status } = STATUS;
    expect(refusal()).toEqual({ status, topic: "state.b", message, ...figures });
    const event = { topic: "state.b", code: "LIMIT_RETAINED", ...figures };
    expect(await broker.reportedSoFar("retain-refused")).toMatchObject([event]);
    expect(await clear("state.b")).toBe(false);
    await broker.expectFds(fdsAtRest + 3);
  });

  test("may replace what it would not fit beside, and take what was cleared", async () => {
    await retain("state.a", numberedTexts("file", 3));
    expect(await retain("state.a", numberedTexts("newer", 4))).toMatchObject({ denied: 0 });
    expect(await retain("state.b", ["x"])).toMatchObject({ denied: 1 });

    expect(await clear("state.a")).toBe(true);
    expect(await retain("state.b", ["x"])).toMatchObject({ published: 1, denied: 0 });
    await broker.expectFds(fdsAtRest + 1);
  });

  test("counts a large body as a file", async () => {
    await retain("state.a", numberedTexts("file", 4));
    expect(await retainLarge("state.b")).toMatchObject({ published: 0, denied: 1 });
    expect(refusal()).toMatchObject({ status: STATUS.LIMIT_RETAINED, limit: 4, actual: 5 });
  });

  const refused: [string, () => Promise<object>, string, StatusName, string | undefined][] = [
    [
      "without the right to send them",
      () => retain("mute.a", ["file"]),
      "mute.a",
      "REJECTED_BY_POLICY",
      "no-files-in",
    ],
    [
      "of a kind that the topic does not take",
      () => retain("pipes.a", ["no pipe"]),
      "pipes.a",
      "REJECTED_FD_KIND",
      "policy.toml:20",
    ],
    [
      "as the body of a large one that could still change",
      () => retainLarge("state.a", 0),
      "state.a",
      "REJECTED_LARGE_BODY",
      undefined,
    ],
  ];
  test.each(refused)("%s is neither delivered nor kept", async (_why, send, topic, code, rule) => {
    using reader = await RawClient.open(broker.path);
    await reader.subscribe(topic);
    const about = { topic, ...(rule !== undefined && { rule }) };

    expect(await send()).toMatchObject({ published: 0, denied: 1 });

    expect(refusal()).toMatchObject({ status: STATUS[code], ...about });
    await reader.sync();
    expect(messagesAt(reader)).toEqual([]);
    expect(await clear(topic)).toBe(false);
    await broker.expectFds(fdsAtRest + 1);
  });
});

describe("a last value with files", () => {
  test("comes without them to who may receive none", async () => {
    await retain("blind.a", ["secret"]);
    using reader = await RawClient.open(broker.path);
    await reader.subscribe("blind.a");
    const message = await reader.nextOf(OPCODE.MESSAGE);

    expect(textOf(message)).toBe("blind.a");
    expect(message).toMatchObject({
      flags: FLAG_RETAINED | FLAG_FDS_WITHHELD,
      fdCount: 0,
      fds: [],
      detail: WITHHELD_REASON.POLICY,
    });
    expect(await clear("blind.a")).toBe(true);
    await broker.expectFds(fdsAtRest + 1);
  });

  test("keeps its large body for who may receive no files", async () => {
    const topicId = await writer.openTopic("blind.a");
    using memory = memoryOf(new Uint8Array(LARGE_BYTES).fill(7));
    using files = new TestFiles(["secret"]);
    const size = new Uint8Array(new BigUint64Array([BigInt(LARGE_BYTES)]).buffer);
    const packet = retainPacket(topicId, size, { fdCount: 2, flags: FLAG_LARGE });
    writer.send(packet, [memory.number, ...files.fds]);
    expect(await writer.sync()).toMatchObject({ published: 1 });

    using reader = await RawClient.open(broker.path);
    await reader.subscribe("blind.a");
    const message = await reader.nextOf(OPCODE.MESSAGE);

    const flags = FLAG_RETAINED | FLAG_LARGE | FLAG_FDS_WITHHELD;
    expect(message).toMatchObject({ flags, fdCount: 1, detail: WITHHELD_REASON.POLICY });
    expect(takeTexts(message.fds)[0]).toHaveLength(LARGE_BYTES);
  });

  test("does not come at all where fds-denied is drop", async () => {
    await retain("whole.a", ["secret"]);
    await retain("whole.b", []);
    using reader = await RawClient.open(broker.path);
    await reader.subscribe("whole.*");
    const first = await reader.nextOf(OPCODE.MESSAGE);
    await reader.sync();

    expect(textOf(first)).toBe("whole.b");
    expect(messagesAt(reader)).toEqual([]);
    expect(await clear("whole.a")).toBe(true);
  });

  test("comes with them to who may, as often as asked for", async () => {
    await retain("state.a", ["one", "two"]);
    using reader = await RawClient.open(broker.path);
    for (let time = 0; time < 2 * FDS_LIMIT; time += 1) {
      const subscription = await reader.subscribe("state.a");
      const message = await reader.nextOf(OPCODE.MESSAGE);
      expect(message).toMatchObject({ flags: FLAG_RETAINED, fdCount: 2 });
      expect(takeTexts(message.fds)).toEqual(["one", "two"]);
      await reader.request(OPCODE.UNSUBSCRIBE, { subscription });
    }
    await broker.expectFds(fdsAtRest + 3);
  });
});
