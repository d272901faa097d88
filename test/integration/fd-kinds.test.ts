/** Which files a topic takes, on real brokers: every kind, refusals, reloads and trials. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_FD_KINDS } from "../../src/broker/fds/fd-rules.ts";
import { connect } from "../../src/client/index.ts";
import { FD_KINDS, type FdKind } from "../../src/fd-kinds.ts";
import { closeFd, OwnedFd } from "../../src/ffi/owned-fd.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { CliBroker } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { rejectionOf } from "../support/mortal-broker.ts";
import { ODD_FILES, oddFile } from "../support/odd-files.ts";
import { mapOf, messagePacket, RawClient, type RawFrame, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";
import { numberedTexts, TestFiles, takeTexts } from "../support/test-files.ts";

const FDS_MAX = 253;
const GUEST_UID = 34_567;

const OPEN = `[[rule]]
id = "all-open"
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true
`;

/** Topics named after kinds take that kind alone. */
const POLICY = [
  OPEN,
  `[[rule]]\nid = "guests-no-files"\ndeny = ["receive-fds"]\ntopics = [">"]\nuid = ${GUEST_UID}\n`,
  ...FD_KINDS.map((kind) => `[[topic]]\ntopics = ["only.${kind}"]\nfds = ["${kind}"]\n`),
  '[[topic]]\ntopics = ["whole"]\nfds-denied = "drop"\n',
].join("\n");

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can run clients as other users";

let directory: string;
let broker: SpawnedBroker;
/** Fds of the broker while nobody is connected. */
let fdsAlone: number;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-kinds-"));
  broker = await spawnBroker({ policy: POLICY });
  fdsAlone = await broker.fdsAtRest();
});

/** The broker notices a moment later that clients have gone; the next test counts from here. */
afterEach(async () => {
  await broker.expectFds(fdsAlone);
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

/** A publisher and a subscriber to everything. */
async function openPair(path = broker.path): Promise<[RawClient, RawClient]> {
  const subscriber = await RawClient.open(path);
  await subscriber.subscribe(">");
  return [await RawClient.open(path), subscriber];
}

/** Publishes with these fds. @returns the refusal, or the message as it was delivered */
async function publish(
  [publisher, subscriber]: [RawClient, RawClient],
  topic: string,
  fds: readonly number[],
): Promise<RawFrame> {
  const topicId = await publisher.openTopic(topic);
  await publisher.sync();
  publisher.sendMessage(topicId, "message", fds);
  const { published, denied } = await publisher.sync();
  expect(Number(published) + Number(denied)).toBe(1);
  if (denied === 1) {
    expect(subscriber.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE)).toEqual([]);
    return await publisher.nextOf(OPCODE.ERROR);
  }
  return await subscriber.nextOf(OPCODE.MESSAGE);
}

/** Fails unless the frame is a message with so many fds, which are closed here. */
function expectDelivered(frame: RawFrame, count: number): void {
  expect(frame).toMatchObject({ opcode: OPCODE.MESSAGE, flags: 0, fdCount: count });
  expect(frame.fds).toHaveLength(count);
  for (const fd of frame.fds) closeFd(fd);
}

function expectRefused(frame: RawFrame, fields: object): void {
  expect(frame).toMatchObject({ opcode: OPCODE.ERROR, flags: 0, id: 0 });
  expect(mapOf(frame)).toMatchObject({ status: STATUS.REJECTED_FD_KIND, ...fields });
}

/** The place of the setting of one kind in POLICY. */
function placeOf(kind: FdKind): string {
  const lines = POLICY.split("\n");
  return `policy.toml:${lines.indexOf(`topics = ["only.${kind}"]`)}`;
}

/** What some kernels lack; the unit test of fdKind() says so aloud. */
const OPTIONAL = ["a memfd of huge pages", "secret memory"];

describe("a message with", () => {
  const files = ODD_FILES.filter(({ name }) => !OPTIONAL.includes(name));

  test.each(files)("$name is taken where its topic takes $kind", async ({ kind, open }) => {
    const pair = await openPair();
    using _publisher = pair[0];
    using _subscriber = pair[1];
    const atRest = await broker.fdsAtRest();
    using file = OwnedFd.adopt(open(directory));
    const fds = [file.number];
    const byDefault = await publish(pair, "any.topic", fds);
    if (DEFAULT_FD_KINDS.includes(kind as FdKind)) expectDelivered(byDefault, 1);
    else expectRefused(byDefault, { topic: "any.topic" });
    if (kind !== "other") expectDelivered(await publish(pair, `only.${kind}`, fds), 1);
    const another = kind === "file" ? "pipe" : "file";
    expectRefused(await publish(pair, `only.${another}`, fds), {
      topic: `only.${another}`,
      rule: placeOf(another),
    });
    await broker.expectFds(atRest);
  });

  test("253 files and one that is wrong among them is refused whole", async () => {
    const pair = await openPair();
    using publisher = pair[0];
    using _subscriber = pair[1];
    const atRest = await broker.fdsAtRest();
    using good = new TestFiles(numberedTexts("file", FDS_MAX));
    using wrong = OwnedFd.adopt(openSync("/etc", "r"));
    const fds = good.fds.with(200, wrong.number);
    const refusal = await publish(pair, "any.topic", fds);
    expectRefused(refusal, {
      message:
        'Cannot send to "any.topic": fd 201 of 253 is a "directory", by default a topic takes ' +
        "only memfd-sealed, memfd, file-read-only, file, pipe, eventfd",
    });
    expect(mapOf(refusal)["rule"]).toBeUndefined();
    await broker.expectFds(atRest);
    expectDelivered(await publish(pair, "any.topic", good.fds), FDS_MAX);
    await broker.expectFds(atRest);
    expect(await publisher.sync()).toMatchObject({ published: 0 });
  });

  test("the sender's own connection is refused, and does not outlive the sender", async () => {
    {
      const pair = await openPair();
      using publisher = pair[0];
      using _subscriber = pair[1];
      const refusal = await publish(pair, "any.topic", [publisher.socket.number]);
      expectRefused(refusal, { message: expect.stringContaining('a "socket" of AF_UNIX') });
    }
    await broker.expectFds(fdsAlone);
  });

  test("a wrong file is an event for the audit log", async () => {
    const pair = await openPair();
    using publisher = pair[0];
    using _subscriber = pair[1];
    using wrong = OwnedFd.adopt(oddFile("/dev/null").open(directory));
    await publish(pair, "only.pipe", [wrong.number]);
    const refused = await broker.reportedSoFar("fds-refused");
    expect(refused.filter(({ connection }) => connection === publisher.connection)).toMatchObject([
      { kind: "device", topic: "only.pipe", rule: placeOf("pipe"), identity: { pid: process.pid } },
    ]);
  });

  test("a wrong file leaves the order of the others as it was", async () => {
    const pair = await openPair();
    using publisher = pair[0];
    using subscriber = pair[1];
    const topic = await publisher.openTopic("any.topic");
    using wrong = OwnedFd.adopt(openSync("/etc", "r"));
    using good = new TestFiles(["good"]);
    publisher.sendMessage(topic, "first");
    publisher.send(messagePacket(topic, "wrong", 1), [wrong.number]);
    publisher.sendMessage(topic, "second", good.fds);
    publisher.sendMessage(topic, "third");
    expect(await publisher.sync()).toMatchObject({ published: 3, delivered: 3, denied: 1 });
    expect(await subscriber.nextTexts(1)).toEqual(["first"]);
    const second = await subscriber.nextOf(OPCODE.MESSAGE);
    expect([textOf(second), ...takeTexts(second.fds)]).toEqual(["second", "good"]);
    expect(await subscriber.nextTexts(1)).toEqual(["third"]);
  });
});

describe("Bus.publish()", () => {
  test("of a wrong kind makes flush() reject with kind, topic and setting", async () => {
    await using bus = await connect({ path: broker.path });
    using directoryFd = OwnedFd.adopt(openSync("/etc", "r"));
    bus.publish("only.memfd-sealed", "jail break", { fds: [directoryFd.number] });
    const place = placeOf("memfd-sealed");
    expect(await rejectionOf(bus.flush())).toMatchObject({
      name: "RejectedError",
      code: "REJECTED_FD_KIND",
      status: STATUS.REJECTED_FD_KIND,
      topic: "only.memfd-sealed",
      rule: place,
      message:
        'Cannot send to "only.memfd-sealed": fd 1 of 1 is a "directory", ' +
        `by ${place} the topic takes only memfd-sealed`,
    });
    bus.publish("only.memfd-sealed", "still here");
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });
});

describe("a subscriber without receive-fds", () => {
  testUnless(!isRoot, NOT_ROOT, "gets nothing where fds-denied is drop", async () => {
    await using guest = await connectAs(GUEST_UID, broker.path);
    await guest.call("subscribe", ">");
    using publisher = await RawClient.open(broker.path);
    const whole = await publisher.openTopic("whole");
    const parts = await publisher.openTopic("parts");
    using files = new TestFiles(["file"]);
    publisher.sendMessage(whole, "1 with a file", files.fds);
    publisher.sendMessage(whole, "2 without");
    publisher.sendMessage(parts, "3 with a file", files.fds);
    expect(await publisher.sync()).toMatchObject({ published: 3, matched: 2, dropped: 0 });
    const decoder = new TextDecoder();
    const messages = await guest.call("messages", 2);
    const seen = messages.map(({ data, fdsWithheld }) => [
      decoder.decode(Uint8Array.from(Object.values(data as object))),
      fdsWithheld,
    ]);
    expect(seen).toEqual([
      ["2 without", false],
      ["3 with a file", true],
    ]);
  });
});

describe("a reload of the policy", () => {
  test("changes what an open topic takes", async () => {
    await using changing = await CliBroker.start(OPEN);
    const pair = await openPair(changing.socket);
    using publisher = pair[0];
    using _subscriber = pair[1];
    using directoryFd = OwnedFd.adopt(openSync("/etc", "r"));
    const fds = [directoryFd.number];
    expectRefused(await publish(pair, "a", fds), { topic: "a" });
    changing.directory.write(
      "policy.toml",
      `${OPEN}[[topic]]\ntopics = ["*"]\nfds = ["directory"]\n`,
    );
    await publisher.request(OPCODE.RELOAD_POLICY);
    expectDelivered(await publish(pair, "a", fds), 1);
    changing.directory.write("policy.toml", `${OPEN}[[topic]]\ntopics = ["*"]\nfds = ["pipe"]\n`);
    await publisher.request(OPCODE.RELOAD_POLICY);
    expectRefused(await publish(pair, "a", fds), {
      rule: expect.stringMatching(/policy\.toml:6$/),
    });
    await eventually(
      () => changing.process.stderr.includes('"a" takes no "directory" by default'),
      "the log says so",
    );
  });
});

test("a permissive policy delivers a wrong kind, and tells that it would not", async () => {
  await using trial = await spawnBroker({ policy: `mode = "permissive"\n${POLICY}` });
  const pair = await openPair(trial.path);
  using _publisher = pair[0];
  using _subscriber = pair[1];
  using directoryFd = OwnedFd.adopt(openSync("/etc", "r"));
  expectDelivered(await publish(pair, "only.pipe", [directoryFd.number]), 1);
  const [place = "", line] = placeOf("pipe").split(":");
  expect(await trial.reportedSoFar("would-deny")).toMatchObject([
    { action: "send-fds", topic: "only.pipe", rule: `${place}:${Number(line) + 1}` },
  ]);
});
