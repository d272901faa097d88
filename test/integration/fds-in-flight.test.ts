/** Fds on their way: who pays for them, for how long they wait, and who is told. Real processes. */

import { describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { FDS_UNTAKEN_MAX } from "../../src/broker/fds/limits.ts";
import { connect } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import {
  FLAG_FATAL,
  FLAG_FDS_WITHHELD,
  FLAG_WAIT_FDS,
  GAP_REASON,
  OPCODE,
  WITHHELD_REASON,
} from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, messagePacket, RawClient, type RawFrame, textOf } from "../support/raw-client.ts";
import { openAs } from "../support/raw-user.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles, takeTexts } from "../support/test-files.ts";
import { largePacket, memoryOf } from "../support/test-memory.ts";

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can connect as another user";

/** Messages of 60,000 bytes that fill a client's socket, and part of its queue in the broker. */
const FILLERS = 60;

/** A connection alone may have half of it on its way. */
const LIMIT = 64;

const POLICY = `[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[limits]
fds = ${LIMIT}
`;

/** Fds expire after half a second. */
const IMPATIENT = { clockSpeed: 10, fdTtlMs: 5_000 };

async function subscribed(broker: SpawnedBroker, lane: boolean): Promise<RawClient> {
  const client = await RawClient.open(broker.path, { lane });
  await client.subscribe("files");
  return client;
}

/** One message with one fd. */
async function publish(client: RawClient, topic: number, text: string, count = 1): Promise<void> {
  using files = new TestFiles(new Array<string>(count).fill(text));
  await client.sendEventually(messagePacket(topic, text, count), files.fds);
}

async function fillSocket(publisher: RawClient, topic: number): Promise<void> {
  const filler = messagePacket(topic, new Uint8Array(60_000));
  for (let count = 0; count < FILLERS; count += 1) await publisher.sendEventually(filler);
}

/** The next message with fds or without that is no filler. */
async function nextFile(client: RawClient): Promise<RawFrame> {
  for (;;) {
    const frame = await client.nextOf(OPCODE.MESSAGE);
    if (frame.body.byteLength < 60_000) return frame;
  }
}

describe("copies of fds that are not taken", () => {
  test("are charged to their publisher, and one that does not fit is refused whole", async () => {
    // With this clock nobody is slow while the test runs.
    await using broker = await spawnBroker({ policy: POLICY, clockSpeed: 0.001 });
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    using inBand = await subscribed(broker, false);
    using onLane = await subscribed(broker, true);
    const fitting = LIMIT / 2 / 2;
    for (let number = 0; number < fitting; number += 1) await publish(publisher, topic, "fits");
    expect(await publisher.sync()).toMatchObject({
      published: fitting,
      delivered: 2 * fitting,
      fdsWaiting: 2 * fitting,
    });
    await publish(publisher, topic, "too many");
    expect(await publisher.sync()).toMatchObject({ published: 0, matched: 0, denied: 1 });
    const error = await publisher.nextOf(OPCODE.ERROR);
    const uid = process.getuid?.();
    const whose = `fds: 34 of 32 of one connection of uid ${uid}`;
    const message = `Cannot pass fds on from "files": 2 copies do not fit (${whose})`;
    const about = { message, topic: "files", limit: 32, actual: 34 };
    expect(error).toMatchObject({ flags: 0, id: 0 });
    expect(mapOf(error)).toEqual({ status: STATUS.LIMIT_QUEUED_FDS, ...about });
    const code = "LIMIT_QUEUED_FDS";
    expect(await broker.reportedSoFar("fds-refused")).toMatchObject([{ code, ...about }]);

    for (const client of [inBand, onLane]) {
      for (let number = 0; number < fitting; number += 1) {
        const frame = await client.nextOf(OPCODE.MESSAGE);
        expect(takeTexts(frame.fds)).toEqual(["fits"]);
      }
    }
    await publish(publisher, topic, "fits again");
    expect(await publisher.sync()).toMatchObject({ published: 1, denied: 0, fdsWaiting: 2 });
  });

  test("leave a share to another connection of the same user", async () => {
    await using broker = await spawnBroker({ policy: POLICY, clockSpeed: 0.001 });
    using greedy = await RawClient.open(broker.path);
    using sibling = await RawClient.open(broker.path);
    using _stalled = await subscribed(broker, true);
    const topics = [await greedy.openTopic("files"), await sibling.openTopic("files")] as const;
    for (let number = 0; number < LIMIT; number += 1) await publish(greedy, topics[0], "greedy");
    expect(await greedy.sync()).toMatchObject({ published: LIMIT / 2, denied: LIMIT / 2 });
    for (let number = 0; number < LIMIT; number += 1) await publish(sibling, topics[1], "sibling");
    // Two thirds of what is left of three quarters; four of the first one's are within its share.
    const left = (LIMIT / 4) * 3 - (LIMIT / 2 - 4);
    const sent = Math.floor((left * 2) / 3);
    expect(await sibling.sync()).toMatchObject({ published: sent, fdsWaiting: sent });
  });

  testUnless(!isRoot, NOT_ROOT, "take nothing from another user", async () => {
    await using broker = await spawnBroker({ policy: POLICY, clockSpeed: 0.001 });
    using greedy = await openAs(12_345, broker.path);
    using other = await openAs(12_346, broker.path);
    using _stalled = await subscribed(broker, true);
    const topics = [await greedy.openTopic("files"), await other.openTopic("files")] as const;
    for (let number = 0; number < LIMIT; number += 1) await publish(greedy, topics[0], "greedy");
    for (let number = 0; number < LIMIT; number += 1) await publish(other, topics[1], "other");
    expect(await other.sync()).toMatchObject({ published: LIMIT / 2, denied: LIMIT / 2 });
  });

  test("fit again as soon as they are taken", async () => {
    await using broker = await spawnBroker({ policy: POLICY.replace(`${LIMIT}`, "2") });
    using publisher = await RawClient.open(broker.path);
    using subscriber = await subscribed(broker, false);
    const topic = await publisher.openTopic("files");
    await publish(publisher, topic, "one");
    await publish(publisher, topic, "two");
    expect(await publisher.sync()).toMatchObject({ published: 1, denied: 1, fdsWaiting: 1 });
    closeFd((await subscriber.nextOf(OPCODE.MESSAGE)).fds[0] ?? -1);
    await publish(publisher, topic, "three");
    expect(await publisher.sync()).toMatchObject({ published: 1, denied: 0 });
  });

  test("do not keep the fds of others from a client that takes them", async () => {
    // With this clock a client is slow after 20 ms.
    const options = { policy: POLICY, clockSpeed: 50, fdTtlMs: 3_600_000 };
    await using broker = await spawnBroker(options);
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    using stalled = await subscribed(broker, true);
    using reader = await subscribed(broker, false);
    const texts: string[] = [];
    await eventually(async () => {
      await publish(publisher, topic, "file");
      if ((await publisher.sync())["published"] !== 1) return false;
      texts.push(...takeTexts((await reader.nextOf(OPCODE.MESSAGE)).fds));
      return texts.length === 2 * LIMIT;
    }, "the reader got more than the publisher may have on its way");
    const withheld = await eventually(() => {
      const frames = stalled.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE);
      for (const fd of frames.flatMap(({ fds }) => fds)) closeFd(fd);
      return frames.find(({ flags }) => (flags & FLAG_FDS_WITHHELD) !== 0);
    }, "the slow one was told that it did not get some");
    expect(withheld).toMatchObject({ fdCount: 0, detail: WITHHELD_REASON.EXPIRED });
    expect(await broker.reportedSoFar("disconnected")).toEqual([]);
  });
});

describe("SYNC with WAIT_FDS", () => {
  test.each([false, true])(
    "is answered once the last copy is taken, with a lane %p",
    async (lane) => {
      await using broker = await spawnBroker();
      using publisher = await RawClient.open(broker.path);
      const topic = await publisher.openTopic("files");
      using subscriber = await subscribed(broker, lane);
      await publish(publisher, topic, "one");
      await publish(publisher, topic, "two");
      const waiting = await publisher.ask(OPCODE.SYNC, FLAG_WAIT_FDS);
      closeFd((await subscriber.nextOf(OPCODE.MESSAGE)).fds[0] ?? -1);
      await eventually(
        async () => (await publisher.sync())["fdsWaiting"] === 1,
        "one copy is known to be taken",
      );
      const { fds } = await subscriber.nextOf(OPCODE.MESSAGE);
      const answer = await publisher.answerTo(waiting);
      closeFd(fds[0] ?? -1);
      expect(answer.opcode).toBe(OPCODE.ACK);
      expect(mapOf(answer)).toMatchObject({ fdsWaiting: 0, fdsExpired: 0 });
    },
  );

  test("is answered at once where nothing is on its way", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    const answer = await publisher.answerTo(await publisher.ask(OPCODE.SYNC, FLAG_WAIT_FDS));
    expect(mapOf(answer)).toMatchObject({ fdsWaiting: 0 });
  });

  test("is answered when a subscriber is gone that took nothing", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    const subscriber = await subscribed(broker, true);
    await publish(publisher, topic, "one");
    const waiting = await publisher.ask(OPCODE.SYNC, FLAG_WAIT_FDS);
    await publisher.sync();
    subscriber[Symbol.dispose]();
    expect(mapOf(await publisher.answerTo(waiting))).toMatchObject({ fdsWaiting: 0 });
  });
});

describe("fds for a client that does not read", () => {
  test.each([false, true])(
    "wait in the broker beyond those in its socket, and come in order, with a lane %p",
    async (lane) => {
      await using broker = await spawnBroker();
      using publisher = await RawClient.open(broker.path);
      const topic = await publisher.openTopic("files");
      using subscriber = await subscribed(broker, lane);
      const atRest = await broker.fdsAtRest();
      const count = FDS_UNTAKEN_MAX + 100;
      for (let number = 0; number < count; number += 1) {
        await publish(publisher, topic, `file ${number}`);
      }
      expect(await publisher.sync()).toMatchObject({ delivered: count, fdsWaiting: count });
      expect(broker.countFds()).toBeGreaterThanOrEqual(atRest + 100);
      for (let number = 0; number < count; number += 1) {
        const frame = await subscriber.nextOf(OPCODE.MESSAGE);
        expect(takeTexts(frame.fds)).toEqual([`file ${number}`]);
      }
      await broker.expectFds(atRest);
    },
  );

  test("are closed after their time, and both sides are told", async () => {
    await using broker = await spawnBroker(IMPATIENT);
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    using stalled = await subscribed(broker, false);
    const atRest = await broker.fdsAtRest();
    await fillSocket(publisher, topic);
    for (const text of ["one", "two"]) await publish(publisher, topic, text);
    using body = memoryOf(new Uint8Array(100));
    await publisher.sendEventually(largePacket(topic, 100), [body.number]);
    expect(await publisher.sync()).toMatchObject({ fdsWaiting: 3, fdsExpired: 0 });
    await broker.expectFds(atRest);
    const expired = { fdsWaiting: 0, fdsExpired: 3, lostLater: 1 };
    expect(await publisher.sync()).toMatchObject(expired);
    expect(await publisher.sync()).toMatchObject({ fdsExpired: 0, lostLater: 0 });
    for (const text of ["one", "two"]) {
      const frame = await nextFile(stalled);
      expect(textOf(frame)).toBe(text);
      expect(frame).toMatchObject({
        flags: FLAG_FDS_WITHHELD,
        fdCount: 0,
        detail: WITHHELD_REASON.EXPIRED,
      });
    }
    const gap = await stalled.nextOf(OPCODE.GAP);
    expect(mapOf(gap)).toEqual({ count: 1, reason: GAP_REASON.BODY_EXPIRED });
    const [event] = await broker.reportedSoFar("fds-undelivered");
    expect(event).toMatchObject({ connection: stalled.connection, reason: "expired" });
    expect(await broker.reportedSoFar("disconnected")).toEqual([]);
  });

  test.each([false, true])(
    "end it where they are in its socket already, with a lane %p",
    async (lane) => {
      await using broker = await spawnBroker(IMPATIENT);
      using publisher = await RawClient.open(broker.path);
      const topic = await publisher.openTopic("files");
      using stalled = await subscribed(broker, lane);
      await publish(publisher, topic, "one", 3);
      const ended = await eventually(() => broker.find("disconnected"), "the client was ended");
      const { connection } = stalled;
      const { limit, actual, message } = ended;
      expect(ended).toMatchObject({ connection, code: "LIMIT_QUEUED_FDS", limit: 5_000 });
      expect(actual).toBeGreaterThanOrEqual(5_000);
      const waited = `3 file descriptors wait in its socket for ${actual} ms, limit is 5000`;
      expect(message).toBe(`Cannot serve client: ${waited}, and it takes none`);
      expect(await publisher.sync()).toMatchObject({ fdsWaiting: 0, fdsExpired: 3 });
      const last = (await stalled.untilEnd()).at(-1);
      expect(last).toMatchObject({ opcode: OPCODE.ERROR, flags: FLAG_FATAL });
      const status = STATUS.LIMIT_QUEUED_FDS;
      expect(last && (mapOf(last) as unknown)).toEqual({ status, message, limit, actual });
    },
  );

  test("are charged to its user while it keeps them after its end", async () => {
    await using broker = await spawnBroker({ ...IMPATIENT, policy: POLICY });
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    const atRest = await broker.fdsAtRest();
    const stalled = await subscribed(broker, true);
    await publish(publisher, topic, "one");
    await eventually(() => broker.find("disconnected"), "the client was ended");
    await publish(publisher, topic, "two");
    expect(await publisher.sync()).toMatchObject({ published: 2, matched: 1 });
    using other = await subscribed(broker, true);
    await publish(publisher, topic, "three");
    const { flags, detail } = await other.nextOf(OPCODE.MESSAGE);
    expect([flags, detail]).toEqual([FLAG_FDS_WITHHELD, WITHHELD_REASON.EXPIRED]);
    // The socket that the fd is in: the broker keeps its end as long as the client does.
    await broker.expectFds(atRest + 2 + 1);
    stalled[Symbol.dispose]();
    await broker.expectFds(atRest + 2);
    await publish(publisher, topic, "four");
    expect(takeTexts((await other.nextOf(OPCODE.MESSAGE)).fds)).toEqual(["four"]);
  });
});

describe("files that a thread closes, not the broker in passing", () => {
  const policy = POLICY.replace(`fds = ${LIMIT}`, "fds = 8");

  test("do not count against their sender while that takes no longer than usual", async () => {
    await using broker = await spawnBroker({ policy });
    await using publisher = await connect({ path: broker.path });
    await using subscriber = await connect({ path: broker.path });
    await subscriber.subscribe("files", { onMessage: (message) => message[Symbol.dispose]() });
    const file = openSync(import.meta.path, "r");
    const publishFds = async (count: number) => {
      publisher.publish("files", "", { fds: new Array<number>(count).fill(file) });
      return await publisher.flush({ untilFdsTaken: true });
    };
    for (let round = 0; round < 20; round += 1) {
      expect(await publishFds(4)).toMatchObject({ delivered: 1 });
    }
    const figures = { code: "LIMIT_QUEUED_FDS", limit: 4, actual: 5 };
    const refused = await publishFds(5).catch((error: unknown) => error);
    expect(await publishFds(4)).toMatchObject({ delivered: 1 });
    expect(refused).toMatchObject(figures);
    expect(await broker.reportedSoFar("fds-refused")).toMatchObject([figures]);
    // The files wait for a thread, which may still be starting.
    await eventually(() => broker.countWorkers() > 0, "a thread closes the files");
    closeSync(file);
  });
});
