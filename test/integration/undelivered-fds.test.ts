/**
 * Fds that a subscriber does not get: the message comes without them, the log says why, and the
 * figure of that reason in `stats` counts them. One broker a test, since figures only grow.
 */

import { describe, expect, test } from "bun:test";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { setPassRights } from "../../src/ffi/socket-options.ts";
import { FLAG_FDS_WITHHELD, OPCODE, WITHHELD_REASON } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { messagePacket, RawClient, type RawFrame, textOf } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { numberedTexts, TestFiles, takeTexts } from "../support/test-files.ts";

const POLICY = `[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[limits]
fds = 8
`;

const NOTHING = { refused: 0, unwanted: 0, expired: 0, stalled: 0 };

/** With this clock a client is slow after 20 ms, and no fd expires. */
const FAST_CLOCK = { clockSpeed: 50, fdTtlMs: 3_600_000 };

function knowsPassRights(): boolean {
  using socket = OwnedFd.adopt(openSeqpacket());
  return setPassRights(socket.number, true);
}

/** `fds` of the broker's entry in `stats`. */
async function fdFigures(client: RawClient): Promise<Record<string, number>> {
  const { answer } = await client.request(OPCODE.QUERY, { what: "stats" });
  const [broker] = JSON.parse(String(answer)) as { fds: Record<string, number> }[];
  return broker?.fds ?? {};
}

async function subscribed(path: string, lane: boolean): Promise<RawClient> {
  const client = await RawClient.open(path, { lane });
  await client.subscribe("files");
  return client;
}

function publish(client: RawClient, topic: number, text: string, fdCount: number): void {
  using files = new TestFiles(numberedTexts("file", fdCount));
  client.send(messagePacket(topic, text, fdCount), files.fds);
}

/** All of a publisher's fds were taken. The broker looks for that now and then. */
async function expectTaken(publisher: RawClient): Promise<void> {
  await eventually(async () => {
    const receipt = await publisher.sync();
    expect(receipt).toMatchObject({ fdsExpired: 0 });
    return receipt["fdsWaiting"] === 0;
  }, "all fds were taken");
}

function expectWithheld(frame: RawFrame, text: string): void {
  expect(textOf(frame)).toBe(text);
  expect(frame).toMatchObject({ flags: FLAG_FDS_WITHHELD, fdCount: 0, fds: [] });
  expect(frame.detail).toBe(WITHHELD_REASON.KERNEL);
}

describe("fds of a message", () => {
  testUnless(
    !knowsPassRights(),
    "the kernel does not know SO_PASSRIGHTS, which came with Linux 6.16",
    "stay away from a subscriber that shut its socket for fds, and go to the others",
    async () => {
      await using broker = await spawnBroker({ policy: POLICY });
      using publisher = await RawClient.open(broker.path);
      const topic = await publisher.openTopic("files");
      using shut = await subscribed(broker.path, false);
      using open = await subscribed(broker.path, false);
      const atRest = broker.countFds();
      setPassRights(shut.socket.number, false);
      publisher.sendMessage(topic, "before");
      publish(publisher, topic, "with two", 2);
      publisher.sendMessage(topic, "behind");
      expect(await publisher.sync()).toMatchObject({ published: 3, delivered: 6 });

      expect(await shut.nextTexts(1)).toEqual(["before"]);
      expectWithheld(await shut.nextOf(OPCODE.MESSAGE), "with two");
      expect(await shut.nextTexts(1)).toEqual(["behind"]);
      expect(await open.nextTexts(1)).toEqual(["before"]);
      expect(takeTexts((await open.nextOf(OPCODE.MESSAGE)).fds)).toEqual(["file 0", "file 1"]);
      // Only of a socket that is empty the broker knows for sure that all fds are taken.
      expect(await open.nextTexts(1)).toEqual(["behind"]);

      expect(await fdFigures(publisher)).toEqual({ ...NOTHING, unwanted: 2 });
      const { connection } = shut;
      const events = await broker.reportedSoFar("fds-undelivered");
      expect(events).toMatchObject([{ connection, reason: "unwanted", fds: 2 }]);
      await expectTaken(publisher);
      await broker.expectFds(atRest);

      setPassRights(shut.socket.number, true);
      publish(publisher, topic, "again", 1);
      expect(takeTexts((await shut.nextOf(OPCODE.MESSAGE)).fds)).toEqual(["file 0"]);
    },
  );

  test("stay away from a subscriber that closed its lane, which counts as refused", async () => {
    await using broker = await spawnBroker({ policy: POLICY });
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    using subscriber = await subscribed(broker.path, true);
    subscriber.lane?.close();
    publish(publisher, topic, "with three", 3);

    expectWithheld(await subscriber.nextOf(OPCODE.MESSAGE), "with three");
    expect(await fdFigures(publisher)).toEqual({ ...NOTHING, refused: 3 });
    const { connection } = subscriber;
    const events = await broker.reportedSoFar("fds-undelivered");
    expect(events).toMatchObject([{ connection, reason: "refused", fds: 3 }]);
  });

  test("that nobody took in time count as expired", async () => {
    await using broker = await spawnBroker({ policy: POLICY, clockSpeed: 10, fdTtlMs: 5_000 });
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    using _stalled = await subscribed(broker.path, false);
    publish(publisher, topic, "with three", 3);
    await eventually(() => broker.find("disconnected"), "who did not take them was ended");

    expect(await fdFigures(publisher)).toEqual({ ...NOTHING, expired: 3 });
  });

  test("that were kept from a slow subscriber count as stalled", async () => {
    await using broker = await spawnBroker({ policy: POLICY, ...FAST_CLOCK });
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    using slow = await subscribed(broker.path, true);
    await eventually(async () => {
      publish(publisher, topic, "with one", 1);
      return ((await fdFigures(publisher))["stalled"] ?? 0) > 0;
    }, "the slow one was left out");
    const { published } = await publisher.sync();
    const { stalled } = await fdFigures(publisher);

    const frames: RawFrame[] = [];
    while (frames.length < Number(published)) frames.push(await slow.nextOf(OPCODE.MESSAGE));
    const withheld = frames.filter(({ flags }) => flags === FLAG_FDS_WITHHELD);
    expect(withheld.map(({ detail }) => detail)).toEqual([WITHHELD_REASON.EXPIRED]);
    expect(stalled).toBe(1);
    takeTexts(frames.flatMap(({ fds }) => fds));
  });
});
