/** Fds in messages: to everybody who may have them, in order, and nowhere left behind. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { connect } from "../../src/client/connect.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import {
  FLAG_FATAL,
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { mapOf, messagePacket, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import {
  isCloseOnExec,
  numberedTexts,
  readText,
  TestFiles,
  takeTexts,
} from "../support/test-files.ts";

const FDS_MAX = 253;

/** Messages of 60,000 bytes that fill a client's socket, and part of its queue in the broker. */
const FILLERS = 60;

let broker: SpawnedBroker;
let fdsAtRest: number;

beforeEach(async () => {
  broker = await spawnBroker();
  using _first = await RawClient.open(broker.path);
  fdsAtRest = (await broker.fdsAtRest()) - 1;
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

async function subscribedRaw(pattern: string, lane: boolean): Promise<RawClient> {
  const client = await RawClient.open(broker.path, { lane });
  await client.subscribe(pattern);
  return client;
}

describe("a message with fds", () => {
  test.each([1, 2, FDS_MAX])(
    "brings %d of them to three subscribers of each kind",
    async (count) => {
      {
        using publisher = await RawClient.open(broker.path);
        using inBand = await subscribedRaw("files.opened", false);
        using onLane = await subscribedRaw("files.*", true);
        await using bus = await connect({ path: broker.path });
        const subscription = await bus.subscribe("files.>");
        const topic = await publisher.openTopic("files.opened");
        const texts = numberedTexts("file", count);
        using files = new TestFiles(texts);
        publisher.sendMessage(topic, "open", files.fds);

        const first = await inBand.nextOf(OPCODE.MESSAGE);
        expect({ flags: first.flags, fdCount: first.fdCount }).toEqual({
          flags: 0,
          fdCount: count,
        });
        expect(first.fds.every(isCloseOnExec)).toBe(true);
        expect(takeTexts(first.fds)).toEqual(texts);

        const second = await onLane.nextOf(OPCODE.MESSAGE);
        expect(second).toMatchObject({ flags: FLAG_FDS_ON_LANE, fdCount: count });
        expect(takeTexts(second.fds)).toEqual(texts);

        const { value: third } = await subscription.next();
        expect(third.fds).toHaveLength(count);
        expect(third.data).toEqual(new TextEncoder().encode("open"));
        const taken = texts.map((_, index) => {
          using fd = third.fds.take(index);
          expect(isCloseOnExec(fd.fd)).toBe(true);
          return readText(fd.fd);
        });
        expect(taken).toEqual(texts);
      }
      await broker.expectFds(fdsAtRest);
    },
  );

  test("keeps its place among messages without", async () => {
    using publisher = await RawClient.open(broker.path);
    using inBand = await subscribedRaw(">", false);
    using onLane = await subscribedRaw(">", true);
    await using bus = await connect({ path: broker.path });
    const subscription = await bus.subscribe(">");
    const topics = [await publisher.openTopic("a"), await publisher.openTopic("b")];
    const rounds = 40;
    for (let round = 0; round < rounds; round += 1) {
      const topic = topics[round % 2] as number;
      await publisher.sendEventually(messagePacket(topic, `plain ${round}`));
      using file = new TestFiles([`file ${round}`]);
      await publisher.sendEventually(messagePacket(topic, `open ${round}`, 1), file.fds);
      // Large enough to go out directly, past what waits, if the queue let it.
      await publisher.sendEventually(messagePacket(topic, `large ${round}`.padEnd(40_000)));
    }
    const wanted = Array.from({ length: rounds }, (_, round) => [
      `plain ${round}`,
      `open ${round} file ${round}`,
      `large ${round}`,
    ]).flat();
    for (const client of [inBand, onLane]) {
      const seen: string[] = [];
      while (seen.length < wanted.length) {
        const frame = await client.nextOf(OPCODE.MESSAGE);
        seen.push([textOf(frame).trim(), ...takeTexts(frame.fds)].join(" "));
      }
      expect(seen).toEqual(wanted);
    }
    const seen: string[] = [];
    for await (const message of subscription) {
      const text = new TextDecoder().decode(message.bytes).trim();
      if (message.fds.length > 0) {
        using fd = message.fds.take(0);
        seen.push(`${text} ${readText(fd.fd)}`);
      } else seen.push(text);
      if (seen.length === wanted.length) break;
    }
    expect(seen).toEqual(wanted);
  });

  test("leaves no fd in a broker that nobody listens to", async () => {
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files.opened");
    using files = new TestFiles(numberedTexts("file", FDS_MAX));
    publisher.sendMessage(topic, "open", files.fds);
    expect(await publisher.sync()).toMatchObject({ published: 1, matched: 0 });
    await broker.expectFds(fdsAtRest + 1);
  });

  test("comes without them to a subscriber that closed its lane", async () => {
    {
      using publisher = await RawClient.open(broker.path);
      using subscriber = await subscribedRaw(">", true);
      subscriber.lane?.close();
      const topic = await publisher.openTopic("files.opened");
      using files = new TestFiles(numberedTexts("file", 2));
      publisher.sendMessage(topic, "before", files.fds);
      publisher.sendMessage(topic, "after");
      const first = await subscriber.nextOf(OPCODE.MESSAGE);
      expect(textOf(first)).toBe("before");
      expect(first).toMatchObject({ flags: FLAG_FDS_WITHHELD, fdCount: 0, fds: [] });
      expect(await subscriber.nextTexts(1)).toEqual(["after"]);
    }
    await broker.expectFds(fdsAtRest);
  });

  test("is let go with a slow subscriber that dies", async () => {
    using publisher = await RawClient.open(broker.path);
    {
      using slow = await subscribedRaw(">", false);
      using slowLane = await subscribedRaw(">", true);
      const topic = await publisher.openTopic("files.opened");
      const filler = messagePacket(topic, new Uint8Array(60_000));
      for (let count = 0; count < FILLERS; count += 1) await publisher.sendEventually(filler);
      using files = new TestFiles(numberedTexts("file", FDS_MAX));
      for (let count = 0; count < 3; count += 1) {
        await publisher.sendEventually(messagePacket(topic, "open", FDS_MAX), files.fds);
      }
      expect(await publisher.sync()).toMatchObject({
        published: FILLERS + 3,
        matched: 2 * (FILLERS + 3),
        dropped: 0,
      });
      // Two clients, one lane, and 253 fds three times, held once for both of them.
      await broker.expectFds(fdsAtRest + 4 + 3 * FDS_MAX);
      expect(slow.connection).toBeLessThan(slowLane.connection);
    }
    await broker.expectFds(fdsAtRest + 1);
  });

  test("beyond 1024 waiting fds is told as a gap in its place", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await subscribedRaw(">", false);
    const topic = await publisher.openTopic("files.opened");
    const filler = messagePacket(topic, new Uint8Array(60_000));
    for (let count = 0; count < FILLERS; count += 1) await publisher.sendEventually(filler);
    using files = new TestFiles(numberedTexts("file", 250));
    for (let count = 0; count < 6; count += 1) {
      await publisher.sendEventually(messagePacket(topic, `open ${count}`, 250), files.fds);
    }
    expect(await publisher.sync()).toMatchObject({
      published: FILLERS + 6,
      delivered: FILLERS + 4,
      dropped: 2,
    });
    await slow.nextTexts(FILLERS);
    for (let count = 0; count < 4; count += 1) {
      const frame = await slow.nextOf(OPCODE.MESSAGE);
      expect(textOf(frame)).toBe(`open ${count}`);
      expect(takeTexts(frame.fds)).toHaveLength(250);
    }
    const gap = await slow.next();
    expect(gap).toMatchObject({ opcode: OPCODE.GAP, id: topic });
    expect(mapOf(gap)).toEqual({ count: 2, reason: 1 });
    await broker.expectFds(fdsAtRest + 2);
  });
});

describe("a sender that dies", () => {
  test("has its last message with fds delivered", async () => {
    using subscriber = await subscribedRaw(">", false);
    {
      using publisher = await RawClient.open(broker.path);
      const topic = await publisher.openTopic("files.opened");
      using files = new TestFiles(["last will"]);
      for (let count = 0; count < 100; count += 1) publisher.sendMessage(topic, `${count}`);
      publisher.sendMessage(topic, "open", files.fds);
    }
    await subscriber.nextTexts(100);
    const frame = await subscriber.nextOf(OPCODE.MESSAGE);
    expect(takeTexts(frame.fds)).toEqual(["last will"]);
  });

  test("takes the fds of unread packets along", async () => {
    await using open = await spawnBroker({ keepFdsOut: false });
    const fds = await open.fdsAtRest();
    open.kill("SIGSTOP");
    {
      using silent = RawClient.connect(open.path);
      using files = new TestFiles(numberedTexts("file", FDS_MAX));
      silent.send(messagePacket(1, "before hello", FDS_MAX), files.fds);
      silent.send(messagePacket(1, "before hello", FDS_MAX), files.fds);
    }
    open.kill("SIGCONT");
    await eventually(() => open.find("disconnected"), "the client is gone");
    await open.expectFds(fds);
  });
});

describe("a broker that may hold few fds", () => {
  const OPEN_FILES_MAX = 160;

  test("refuses a message with more, and goes on", async () => {
    await using small = await spawnBroker({ openFilesMax: OPEN_FILES_MAX });
    using client = await RawClient.open(small.path);
    await client.subscribe("a");
    const topic = await client.openTopic("a");
    const fds = await small.fdsAtRest();
    using files = new TestFiles(numberedTexts("file", FDS_MAX));
    client.sendMessage(topic, "too many", files.fds);
    const refusal = await client.next();
    expect(refusal).toMatchObject({ opcode: OPCODE.ERROR, flags: 0, id: 0 });
    expect(mapOf(refusal)).toMatchObject({ status: STATUS.LIMIT_QUEUED_FDS });
    client.sendMessage(topic, "few", files.fds.slice(0, 3));
    const message = await client.nextOf(OPCODE.MESSAGE);
    expect(takeTexts(message.fds)).toEqual(numberedTexts("file", 3));
    await small.expectFds(fds);
  });

  test("survives a client that sends them before HELLO, and then asks for a lane", async () => {
    await using small = await spawnBroker({ openFilesMax: OPEN_FILES_MAX, keepFdsOut: false });
    using bystander = await RawClient.open(small.path);
    using client = RawClient.connect(small.path);
    using files = new TestFiles(numberedTexts("file", FDS_MAX));
    small.kill("SIGSTOP");
    client.send(messagePacket(1, "too many", FDS_MAX), files.fds);
    client.sendControl(OPCODE.HELLO, 0, { protocol: 1, features: 1 });
    small.kill("SIGCONT");
    const frames = await client.untilEnd();
    expect(frames).toMatchObject([{ opcode: OPCODE.ERROR, flags: FLAG_FATAL }]);
    expect(await bystander.sync()).toMatchObject({ published: 0 });
  });
});

describe("Bus.subscribe()", () => {
  test("gives each of two subscriptions fds of its own", async () => {
    using publisher = await RawClient.open(broker.path);
    await using bus = await connect({ path: broker.path });
    const first = await bus.subscribe("files.opened");
    const second = await bus.subscribe("files.*");
    const topic = await publisher.openTopic("files.opened");
    using files = new TestFiles(["shared"]);
    publisher.sendMessage(topic, "open", files.fds);
    const { value: one } = await first.next();
    const { value: two } = await second.next();
    using fdOne = one.fds.take(0);
    using fdTwo = two.fds.take(0);
    expect(fdOne.fd).not.toBe(fdTwo.fd);
    expect([readText(fdOne.fd), readText(fdTwo.fd)]).toEqual(["shared", "shared"]);
  });
});

test("a file that only a publisher can open is read through its fd", async () => {
  using subscriber = await subscribedRaw(">", false);
  await using bus = await connect({ path: broker.path });
  using files = new TestFiles(["secret"]);
  bus.publish("files.opened", "open", { fds: files.fds });
  await bus.flush();
  const frame = await subscriber.nextOf(OPCODE.MESSAGE);
  expect(frame.fds).toHaveLength(1);
  expect(readText(frame.fds[0] as number)).toBe("secret");
  for (const fd of frame.fds) closeFd(fd);
});
