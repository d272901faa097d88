/** Who a sender is, and what the policy lets it do: with client processes under several uids. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs, runAs, type SpawnedClient } from "../support/spawned-client.ts";
import { TestFiles } from "../support/test-files.ts";

const SENSOR_UID = 12_345;
const READER_UID = 23_456;
const STRANGER_UID = 34_567;

const POLICY = `
[[rule]]
id = "sensor-publishes"
topics = ["sensors.>"]
user = ${SENSOR_UID}
allow = ["publish", "send-fds"]

[[rule]]
id = "no-fds-on-plain"
topics = ["sensors.plain"]
any = true
deny = ["send-fds"]

[[rule]]
id = "reader-reads"
topics = ["sensors.>", "$bus.>"]
user = ${READER_UID}
allow = ["subscribe", "receive-fds"]

[[rule]]
id = "no-secrets"
topics = ["sensors.secret.>"]
any = true
deny = ["subscribe"]

[[rule]]
id = "stranger-reads-without-files"
topics = ["sensors.public.>"]
user = ${STRANGER_UID}
allow = ["subscribe"]

[[rule]]
id = "root-does-all"
topics = [">"]
user = 0
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
`;

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can run clients as other users";

let broker: SpawnedBroker;
let sensor: SpawnedClient;
let reader: SpawnedClient;
let stranger: SpawnedClient;

beforeAll(async () => {
  if (!isRoot) return;
  broker = await spawnBroker({ policy: POLICY });
  [sensor, reader, stranger] = await Promise.all([
    connectAs(SENSOR_UID, broker.path),
    connectAs(READER_UID, broker.path),
    connectAs(STRANGER_UID, broker.path),
  ]);
});

afterAll(async () => {
  if (!isRoot) return;
  for (const client of [sensor, reader, stranger]) await client[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
});

describe("with a policy", () => {
  testUnless(!isRoot, NOT_ROOT, "a message bears the sender's uid, gid and pid", async () => {
    await reader.call("subscribe", "sensors.>");
    await sensor.call("publish", "sensors.kitchen", { celsius: 21.5 });
    const [message] = await reader.call("messages", 1);
    expect(message).toEqual({
      topic: "sensors.kitchen",
      data: { celsius: 21.5 },
      sender: { uid: SENSOR_UID, gid: SENSOR_UID, pid: sensor.pid },
      fdTexts: [],
      fdsWithheld: false,
    });
  });

  testUnless(!isRoot, NOT_ROOT, "publishing is refused where no rule allows it", async () => {
    await stranger.call("publish", "sensors.kitchen", "lie");
    expect(await stranger.failureOf("flush")).toMatchObject({
      name: "RejectedError",
      code: "REJECTED_BY_POLICY",
      topic: "sensors.kitchen",
    });
    const denied = await broker.reportedSoFar("denied");
    const event = denied.find(({ topic }) => topic === "sensors.kitchen");
    expect(event).toMatchObject({
      action: "publish",
      identity: { uid: STRANGER_UID, pid: stranger.pid },
    });
  });

  testUnless(!isRoot, NOT_ROOT, "subscribing is refused, and the rule named", async () => {
    expect(await reader.failureOf("subscribe", "sensors.secret.door")).toMatchObject({
      code: "REJECTED_BY_POLICY",
      rule: "no-secrets",
      topic: "sensors.secret.door",
    });
    expect(await reader.failureOf("subscribe", "logs.>")).toMatchObject({
      code: "REJECTED_BY_POLICY",
      topic: "logs.>",
    });
  });

  testUnless(!isRoot, NOT_ROOT, "a wildcard brings only what may be read", async () => {
    await using curious = await connectAs(READER_UID, broker.path);
    await curious.call("subscribe", "sensors.>");
    await sensor.call("publish", "sensors.a", 1);
    await sensor.call("publish", "sensors.secret.door", 2);
    await sensor.call("publish", "sensors.b", 3);
    const messages = await curious.call("messages", 2);
    expect(messages.map(({ topic, data }) => [topic, data])).toEqual([
      ["sensors.a", 1],
      ["sensors.b", 3],
    ]);
  });

  testUnless(!isRoot, NOT_ROOT, "sending fds is refused, and the rule named", async () => {
    await using other = await connectAs(SENSOR_UID, broker.path);
    await other.call("publishFile", "sensors.plain", "file");
    expect(await other.failureOf("flush")).toMatchObject({
      code: "REJECTED_BY_POLICY",
      rule: "no-fds-on-plain",
      topic: "sensors.plain",
    });
  });

  testUnless(!isRoot, NOT_ROOT, "fds are withheld from who may not receive them", async () => {
    await using all = await connectAs(READER_UID, broker.path);
    await using some = await connectAs(STRANGER_UID, broker.path);
    await all.call("subscribe", "sensors.public.>");
    await some.call("subscribe", "sensors.public.>");
    await sensor.call("publishFile", "sensors.public.log", "text");
    const [whole] = await all.call("messages", 1);
    expect(whole).toMatchObject({ data: "text", fdTexts: ["text"], fdsWithheld: false });
    const [part] = await some.call("messages", 1);
    expect(part).toMatchObject({ data: "text", fdTexts: [], fdsWithheld: true });
  });

  testUnless(!isRoot, NOT_ROOT, "a refused packet with fds leaves none behind", async () => {
    using publisher = await RawClient.open(broker.path);
    const fds = broker.countFds();
    // With one topic that takes files, the kernel lets them through on all of them.
    await publisher.openTopic("sensors.kitchen");
    const topic = await publisher.openTopic("sensors.plain");
    using files = new TestFiles(["a", "b"]);
    publisher.sendMessage(topic, "open", files.fds);
    publisher.sendMessage(topic, "plain");
    const refusal = await publisher.next();
    expect(refusal).toMatchObject({ opcode: OPCODE.ERROR, flags: 0, id: 0 });
    expect(mapOf(refusal)).toMatchObject({ topic: "sensors.plain", rule: "no-fds-on-plain" });
    expect(await publisher.sync()).toMatchObject({ published: 1, denied: 1 });
    await broker.expectFds(fds);
  });
});

describe("without a policy", () => {
  testUnless(!isRoot, NOT_ROOT, "the socket is closed to other users", async () => {
    await using own = await spawnBroker({ uid: SENSOR_UID });
    await using other = await runAs(STRANGER_UID);
    expect(await other.failureOf("connect", own.path)).toMatchObject({
      name: "SyscallError",
      code: "EACCES",
    });
    await using same = await connectAs(SENSOR_UID, own.path);
    await same.call("subscribe", ">");
    await same.call("publish", "a", "own");
    expect(await same.call("messages", 1)).toMatchObject([{ data: "own" }]);
  });

  testUnless(!isRoot, NOT_ROOT, "root is refused by the broker of another user", async () => {
    await using own = await spawnBroker({ uid: SENSOR_UID });
    await using root = await runAs(0);
    expect(await root.failureOf("connect", own.path)).toMatchObject({
      name: "RejectedError",
      code: "REJECTED_NOT_OWNER",
    });
  });
});

test("SENDER names the process that connected, not the one that writes", async () => {
  await using own = await spawnBroker();
  using watcher = await RawClient.open(own.path);
  using speaker = await RawClient.open(own.path);
  await watcher.subscribe(">");
  speaker.sendMessage(await speaker.openTopic("a"), "word");
  const sender = await watcher.nextOf(OPCODE.SENDER);
  expect(sender.id).toBe(speaker.connection);
  expect(mapOf(sender)).toMatchObject({
    uid: process.getuid?.(),
    gid: process.getgid?.(),
    pid: process.pid,
  });
  const message = await watcher.nextOf(OPCODE.MESSAGE);
  expect(message.origin).toBe(speaker.connection);
  expect(textOf(message)).toBe("word");
});
