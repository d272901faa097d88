/**
 * What other buses were attacked with, or fell over, through file descriptors: each as a test, under
 * its name. Real processes.
 */

import { describe, expect, test } from "bun:test";
import { FDS_UNTAKEN_MAX } from "../../src/broker/fds/limits.ts";
import { AWAITING_HELLO_PER_UID_MAX } from "../../src/broker/limits.ts";
import { MESSAGE_FDS_MAX } from "../../src/protocol/limits.ts";
import {
  FLAG_FATAL,
  FLAG_FDS_WITHHELD,
  OPCODE,
  WITHHELD_REASON,
} from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import {
  HAS_PRLIMIT,
  hardLimitOf,
  leaveFds,
  NO_PRLIMIT,
  softLimitOf,
} from "../support/open-files.ts";
import { mapOf, messagePacket, packetOf, RawClient, type RawFrame } from "../support/raw-client.ts";
import { connectRawAs, openAs } from "../support/raw-user.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { numberedTexts, TestFiles, takeTexts } from "../support/test-files.ts";

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can be several users";
const BROKER_UID = 34_561;
const ATTACKER_UID = 34_562;
const VICTIM_UID = 34_563;

const OPEN = `[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true
`;

async function subscribed(
  broker: SpawnedBroker,
  uid = process.getuid?.() ?? 0,
): Promise<RawClient> {
  const client = await open(broker, uid);
  await client.subscribe("files");
  return client;
}

async function open(broker: SpawnedBroker, uid: number): Promise<RawClient> {
  return uid === process.getuid?.()
    ? await RawClient.open(broker.path)
    : await openAs(uid, broker.path);
}

/** Says hello. @returns false where there is no room for the client */
async function isWelcome(client: RawClient): Promise<boolean> {
  const body = { protocol: 1, features: 0 };
  // Where it is refused the socket may be closed already, with the reason in it.
  client.trySend(packetOf((writer) => writer.appendControl(OPCODE.HELLO, 0, 0, body)));
  const frame = await client.next();
  if (frame.opcode === OPCODE.WELCOME) return true;
  expect(refusalsOf([frame])).toEqual([STATUS.LIMIT_CONNECTIONS]);
  return false;
}

/** Publishes a file and has it delivered, from one client to another. */
async function exchange(
  publisher: RawClient,
  subscriber: RawClient,
  text: string,
  name = "files",
): Promise<void> {
  const topic = await publisher.openTopic(name);
  using files = new TestFiles([text]);
  publisher.sendMessage(topic, text, files.fds);
  const frame = await subscriber.nextOf(OPCODE.MESSAGE);
  expect(takeTexts(frame.fds)).toEqual([text]);
}

/**
 * Publishes until no more of its fds get on their way: its quota is used up, or where that takes a
 * while, its subscriber is taken for stalled.
 */
async function exhaust(publisher: RawClient): Promise<void> {
  const topic = await publisher.openTopic("files");
  using files = new TestFiles(["greedy"]);
  let before = 0;
  await eventually(async () => {
    for (let count = 0; count < 8; count += 1) {
      await publisher.sendEventually(messagePacket(topic, "", 1), files.fds);
    }
    const waiting = Number((await publisher.sync())["fdsWaiting"]);
    const areAll = waiting === before;
    before = waiting;
    return areAll;
  }, "no more fds of the publisher got on their way");
}

function refusalsOf(frames: readonly RawFrame[]): unknown[] {
  return frames.filter(({ opcode }) => opcode === OPCODE.ERROR).map((f) => mapOf(f)["status"]);
}

describe("CVE-2014-3532: more fds in flight than the kernel lets the broker have", () => {
  testUnless(!isRoot, NOT_ROOT, "cost a receiver those fds, and never its connection", async () => {
    const options = { policy: OPEN, uid: BROKER_UID, openFilesMax: 200 };
    await using broker = await spawnBroker(options);
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed(broker);
    await exchange(publisher, subscriber, "before");
    const fixture = `${import.meta.dir}/in-flight-fixture.ts`;
    const command = [process.execPath, fixture, `${BROKER_UID}`];
    await using others = Bun.spawn(command, { stdin: "pipe", stdout: "pipe" });
    const { value } = await others.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("ready");

    const topic = await publisher.openTopic("files");
    using files = new TestFiles(["lost"]);
    publisher.sendMessage(topic, "lost", files.fds);
    const frame = await subscriber.nextOf(OPCODE.MESSAGE);
    const { flags, fdCount, detail } = frame;
    expect([flags, fdCount, detail]).toEqual([FLAG_FDS_WITHHELD, 0, WITHHELD_REASON.KERNEL]);
    expect(await publisher.sync()).toMatchObject({ delivered: 2, fdsWaiting: 0 });
    const { connection } = subscriber;
    const event = { type: "fds-undelivered", connection, reason: "refused", fds: 1 };
    expect(await eventually(() => broker.find("fds-undelivered"), "it is told")).toMatchObject(
      event,
    );
    others.kill("SIGKILL");
    await others.exited;
    await exchange(publisher, subscriber, "after");
    expect(await broker.reportedSoFar("disconnected")).toEqual([]);
  });
});

describe("CVE-2014-3533: fds that belong to no message", () => {
  const noop = packetOf((writer) => writer.appendControl(OPCODE.NOOP, 0, 0, undefined));
  const two = (topic: number) =>
    packetOf((writer) => {
      writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new Uint8Array(8));
      writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new Uint8Array(8));
    });

  test.each([
    ["more than the frame says", (topic: number) => messagePacket(topic, "", 1)],
    ["fewer than the frame says", (topic: number) => messagePacket(topic, "", 3)],
    ["with a frame that says none", (topic: number) => messagePacket(topic, "", 0)],
    ["with a control frame", () => noop],
    ["with two frames in one packet", two],
  ])("end their sender alone, and are closed: %s", async (_name, packetFor) => {
    await using broker = await spawnBroker();
    using bystander = await RawClient.open(broker.path);
    using subscriber = await subscribed(broker);
    const atRest = await broker.fdsAtRest();
    using attacker = await RawClient.open(broker.path);
    const topic = await attacker.openTopic("files");
    using files = new TestFiles(["one", "two"]);
    attacker.send(packetFor(topic), files.fds);
    const last = (await attacker.untilEnd()).at(-1);
    expect(last).toMatchObject({ opcode: OPCODE.ERROR, flags: FLAG_FATAL });
    expect(last && mapOf(last)).toMatchObject({ status: STATUS.PROTOCOL_FD_COUNT });
    await broker.expectFds(atRest);
    await exchange(bystander, subscriber, "the next message gets its own");
  });
});

describe("CVE-2014-3635: as many fds as one record can hold", () => {
  test("arrive all, each as it was sent, and again", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed(broker);
    const topic = await publisher.openTopic("files");
    const atRest = await broker.fdsAtRest();
    for (const round of ["first", "second"]) {
      const texts = numberedTexts(round, MESSAGE_FDS_MAX);
      using files = new TestFiles(texts);
      publisher.sendMessage(topic, "full", files.fds);
      expect(takeTexts((await subscriber.nextOf(OPCODE.MESSAGE)).fds)).toEqual(texts);
    }
    await broker.expectFds(atRest);
  });
});

describe("CVE-2014-3636: a user whose fds are all on their way and not read", () => {
  testUnless(!isRoot, NOT_ROOT, "keeps no other user out, nor its fds", async () => {
    await using broker = await spawnBroker({ policy: OPEN, openFilesMax: 600 });
    using _stalled = await subscribed(broker, ATTACKER_UID);
    using clients = new DisposableStack();
    for (let count = 0; count < 8; count += 1) {
      const attacker = clients.use(await openAs(ATTACKER_UID, broker.path));
      await exhaust(attacker);
    }
    using publisher = await openAs(VICTIM_UID, broker.path);
    using subscriber = await openAs(VICTIM_UID, broker.path);
    await subscriber.subscribe("files");
    await exchange(publisher, subscriber, "a file of the victim");
    expect(await publisher.sync()).toMatchObject({ published: 1, denied: 0 });
  });
});

describe("CVE-2014-3637: a client that sends its own socket to itself", () => {
  const policy = `${OPEN}\n[[topic]]\ntopics = ["files"]\nfds = ["socket"]\n`;

  test.each([
    ["where it waits in the socket alone", 3],
    ["where it waits in the broker too", FDS_UNTAKEN_MAX + 20],
  ])("comes to an end after it has closed it: %s", async (_name, count) => {
    await using broker = await spawnBroker({ policy, clockSpeed: 10, fdTtlMs: 20_000 });
    using bystander = await RawClient.open(broker.path);
    const atRest = await broker.fdsAtRest();
    const attacker = await subscribed(broker);
    const topic = await attacker.openTopic("files");
    for (let sent = 0; sent < count; sent += 1) {
      await attacker.sendEventually(messagePacket(topic, "", 1), [attacker.socket.number]);
    }
    // It never reads; the broker holds its socket, and the copies of it that do not fit there.
    const held = Math.max(0, count - FDS_UNTAKEN_MAX);
    await broker.expectFds(atRest + 1 + held);
    attacker[Symbol.dispose]();
    await eventually(() => broker.find("disconnected"), "the connection ended");
    await broker.expectFds(atRest);
    expect(await bystander.sync()).toMatchObject({ fdsWaiting: 0 });
  });

  test("is refused on a topic that names no sockets", async () => {
    await using broker = await spawnBroker();
    using attacker = await subscribed(broker);
    const topic = await attacker.openTopic("files");
    attacker.sendMessage(topic, "", [attacker.socket.number]);
    expect(await attacker.sync()).toMatchObject({ denied: 1 });
    expect(refusalsOf(attacker.received())).toEqual([STATUS.REJECTED_FD_KIND]);
  });
});

describe("CVE-2014-3639: connections that never say hello", () => {
  testUnless(!isRoot, NOT_ROOT, "keep nobody out, not even their own user", async () => {
    await using broker = await spawnBroker({ policy: OPEN });
    using clients = new DisposableStack();
    for (let count = 0; count < 2 * AWAITING_HELLO_PER_UID_MAX; count += 1) {
      clients.use(connectRawAs(ATTACKER_UID, broker.path));
    }
    using sibling = await openAs(ATTACKER_UID, broker.path);
    using subscriber = await subscribed(broker, VICTIM_UID);
    await exchange(sibling, subscriber, "a file");
  });
});

describe("CVE-2014-7824: a broker that may open few files", () => {
  testUnless(!HAS_PRLIMIT, NO_PRLIMIT, "raises its limit as far as it can", async () => {
    await using broker = await spawnBroker({ openFilesSoft: 100 });
    expect(softLimitOf(broker.pid)).toBe(hardLimitOf(broker.pid));
    expect(softLimitOf(broker.pid)).toBeGreaterThan(100);
  });

  testUnless(
    !isRoot,
    NOT_ROOT,
    "serves others while one user has all that it can get",
    async () => {
      await using broker = await spawnBroker({ policy: OPEN, openFilesMax: 200 });
      const atRest = broker.countFds();
      {
        using clients = new DisposableStack();
        const attackers: RawClient[] = [];
        for (;;) {
          const attacker = clients.use(connectRawAs(ATTACKER_UID, broker.path));
          const isIn = await isWelcome(attacker);
          if (!isIn) break;
          await attacker.subscribe("files");
          attackers.push(attacker);
        }
        expect(attackers.length).toBeGreaterThan(10);
        for (const attacker of attackers) await exhaust(attacker);
        for (let count = 0; count < 5; count += 1) {
          using publisher = await openAs(VICTIM_UID, broker.path, true);
          using subscriber = await openAs(VICTIM_UID, broker.path, true);
          await subscriber.subscribe("files.own");
          await exchange(publisher, subscriber, "a file of the victim", "files.own");
          using administrator = await RawClient.open(broker.path, { lane: true });
          expect(await administrator.request(OPCODE.QUERY, { what: "stats" })).toBeDefined();
        }
      }
      await broker.expectFds(atRest);
    },
  );
});

describe("CVE-2020-12049: a message of which only some fds arrive", () => {
  testUnless(!HAS_PRLIMIT, NO_PRLIMIT, "is refused, and leaves none of them open", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed(broker);
    const topic = await publisher.openTopic("files");
    const atRest = await broker.fdsAtRest();
    {
      using _limit = leaveFds(broker, 10);
      using files = new TestFiles(numberedTexts("file", 50));
      for (let count = 0; count < 20; count += 1) {
        await publisher.sendEventually(messagePacket(topic, "", 50), files.fds);
      }
      expect(await publisher.sync()).toMatchObject({ published: 0, denied: 20 });
      expect(refusalsOf(publisher.received())).toEqual(
        new Array<number>(20).fill(STATUS.LIMIT_QUEUED_FDS),
      );
      await broker.expectFds(atRest);
      expect(await broker.reportedSoFar("fds-refused")).toHaveLength(20);
    }
    await exchange(publisher, subscriber, "after");
  });
});

describe("Chromium 439305148: a message with more fds than fit, and the one behind it", () => {
  testUnless(!HAS_PRLIMIT, NO_PRLIMIT, "never changes whose fd is whose", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed(broker);
    const topic = await publisher.openTopic("files");
    using _limit = leaveFds(broker, 10);
    using many = new TestFiles(numberedTexts("of the large message", 50));
    for (let round = 0; round < 20; round += 1) {
      using own = new TestFiles([`own ${round}`]);
      await publisher.sendEventually(messagePacket(topic, "large", 50), many.fds);
      await publisher.sendEventually(messagePacket(topic, `small ${round}`, 1), own.fds);
      await publisher.sendEventually(messagePacket(topic, "none"));
      const small = await subscriber.nextOf(OPCODE.MESSAGE);
      expect(new TextDecoder().decode(small.body)).toBe(`small ${round}`);
      expect(takeTexts(small.fds)).toEqual([`own ${round}`]);
      expect((await subscriber.nextOf(OPCODE.MESSAGE)).fds).toEqual([]);
    }
  });
});

describe("dbus-broker #435: no fd left for a client that connects", () => {
  const cannot = !HAS_PRLIMIT || !isRoot;

  testUnless(cannot, `${NO_PRLIMIT}, or ${NOT_ROOT}`, "is told to it alone", async () => {
    await using broker = await spawnBroker({ policy: OPEN });
    using publisher = await openAs(VICTIM_UID, broker.path);
    using subscriber = await subscribed(broker, VICTIM_UID);
    const atRest = await broker.fdsAtRest();
    {
      using _limit = leaveFds(broker, 0);
      for (let count = 0; count < 20; count += 1) {
        using refused = connectRawAs(ATTACKER_UID, broker.path);
        const frames = await refused.untilEnd();
        expect(frames).toMatchObject([{ opcode: OPCODE.ERROR, flags: FLAG_FATAL }]);
        expect(refusalsOf(frames)).toEqual([STATUS.LIMIT_CONNECTIONS]);
      }
      // Its own lane included, which takes three fds more for a moment.
      using administrator = await RawClient.open(broker.path, { lane: true });
      expect(await administrator.sync()).toMatchObject({ published: 0 });
      expect(await publisher.sync()).toMatchObject({ published: 0 });
      expect(await broker.reportedSoFar("accept-paused")).toHaveLength(1);
    }
    await broker.expectFds(atRest);
    await exchange(publisher, subscriber, "a file");
    using next = await openAs(ATTACKER_UID, broker.path);
    expect(await next.sync()).toMatchObject({ published: 0 });
  });
});

describe("dbus-broker #440: fds that wait for a service", () => {
  test("do not keep the service from connecting, reading them, and so letting more in", async () => {
    await using broker = await spawnBroker({ openFilesMax: 400 });
    using publisher = await RawClient.open(broker.path);
    const service = await subscribed(broker);
    await exhaust(publisher);
    using another = await RawClient.open(broker.path, { lane: true });
    await another.subscribe("other");
    for (const frame of service.received()) takeTexts(frame.fds);
    service[Symbol.dispose]();
    using restarted = await subscribed(broker);
    for (const frame of publisher.received()) expect(frame.opcode).toBe(OPCODE.ERROR);
    await exchange(publisher, restarted, "served again");
  });
});
