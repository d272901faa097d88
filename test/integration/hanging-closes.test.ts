/** Files that a client sent and that cannot be closed: they hold up nobody, and are not forgotten. */

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Listener } from "../../src/broker/arrivals/listener.ts";
import { FDS_CLOSING_PER_UID_MAX } from "../../src/broker/closing/limits.ts";
import { FDS_RESERVED } from "../../src/broker/fds/limits.ts";
import { connect } from "../../src/client/index.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { CliBroker } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, messagePacket, RawClient, type RawFrame } from "../support/raw-client.ts";
import { openAs } from "../support/raw-user.ts";
import { NO_SILENT_FILES, NO_SILENT_FILES_REASON, SilentFiles } from "../support/silent-files.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

const ROUND_TRIPS = 20;

const FDS_MAX = 253;

/** As many as there are threads for. */
const USERS = [34_571, 34_572, 34_573, 34_574];
/** Two messages of each make it full, and are still less than all. */
const FDS_EACH = 100;

function testWithSilentFiles(name: string, body: () => Promise<void>): void {
  testUnless(NO_SILENT_FILES, NO_SILENT_FILES_REASON, name, body);
}

/** Sends a file in so many messages that nobody gets, and waits until the first close hangs. */
async function leaveToBroker(broker: SpawnedBroker, files: SilentFiles, count: number) {
  const sender = await RawClient.open(broker.path);
  const topic = await sender.openTopic("files.silent");
  for (let index = 0; index < count; index += 1) sender.sendMessage(topic, "", [files.fd]);
  await eventually(() => files.held === 1, "the first close hangs");
  return sender;
}

/** What the broker said before it closed. */
function lastOf(frames: readonly RawFrame[]) {
  const last = frames.at(-1);
  if (last === undefined) throw new Error("The broker closed without a word");
  return mapOf(last);
}

describe("a broker whose close of a client's file hangs", () => {
  testWithSilentFiles("serves everybody meanwhile, the sender too", async () => {
    await using broker = await spawnBroker();
    await using files = await SilentFiles.mount();
    using sender = await leaveToBroker(broker, files, 1);
    using other = await RawClient.open(broker.path);
    for (let trip = 0; trip < ROUND_TRIPS; trip += 1) {
      await other.sync();
      await sender.sync();
    }
    expect(files.held).toBe(1);
  });

  testWithSilentFiles("tells once whose files stay open, and how many", async () => {
    await using broker = await spawnBroker();
    await using files = await SilentFiles.mount();
    using sender = await leaveToBroker(broker, files, 3);
    const event = await eventually(() => broker.find("fd-close-stuck"), "the broker told");
    expect(event).toMatchObject({ uid: process.geteuid?.(), count: 3 });
    await sender.sync();
    expect(await broker.reportedSoFar("fd-close-stuck")).toHaveLength(1);
  });

  testWithSilentFiles("reads its policy anew, which an execve(2) of it could not", async () => {
    const policy = '[[rule]]\nallow = ["publish", "send-fds"]\ntopics = [">"]\nany = true\n';
    await using broker = await CliBroker.start(policy);
    await using files = await SilentFiles.mount();
    using sender = await RawClient.open(broker.socket);
    sender.sendMessage(await sender.openTopic("files.silent"), "", [files.fd]);
    await eventually(() => files.held === 1, "the first close hangs");
    await using administrator = await connect({ path: broker.socket });
    expect(await administrator.reloadPolicy()).toBe(1);
    expect(files.held).toBe(1);
  });

  testWithSilentFiles("has closed all of them once the server answers", async () => {
    await using broker = await spawnBroker();
    await using files = await SilentFiles.mount();
    const atRest = await broker.fdsAtRest();
    {
      using _sender = await leaveToBroker(broker, files, 50);
      await eventually(() => broker.countFds() > atRest + 40, "the others wait behind it");
      files.answer();
    }
    await broker.expectFds(atRest);
  });

  testWithSilentFiles("takes a limited number of files, and the user back afterwards", async () => {
    await using broker = await spawnBroker();
    await using files = await SilentFiles.mount();
    const atRest = await broker.fdsAtRest();
    using sender = await RawClient.open(broker.path);
    const topic = await sender.openTopic("files.silent");
    const packet = messagePacket(topic, "", FDS_MAX);
    const fds = Array.from({ length: FDS_MAX }, () => files.fd);
    for (let sent = 0; sent < 2 * FDS_CLOSING_PER_UID_MAX; sent += FDS_MAX) {
      sender.send(packet, fds);
    }
    expect(lastOf(await sender.untilEnd())).toMatchObject({ status: STATUS.LIMIT_QUEUED_FDS });
    expect(broker.countFds()).toBeLessThan(atRest + FDS_CLOSING_PER_UID_MAX + FDS_MAX + 2);
    using refused = RawClient.connect(broker.path);
    expect(lastOf(await refused.untilEnd())).toMatchObject({
      status: STATUS.LIMIT_QUEUED_FDS,
    });
    files.answer();
    await broker.expectFds(atRest);
    using welcome = await RawClient.open(broker.path);
    await welcome.sync();
  });

  testWithSilentFiles("keeps fds for itself, however many users' files hang", async () => {
    const policy = '[[rule]]\nallow = ["publish", "send-fds"]\ntopics = [">"]\nany = true\n';
    const openFilesMax = 800;
    await using broker = await spawnBroker({ policy, openFilesMax });
    await using files = await SilentFiles.mount();
    const atRest = broker.countFds();
    using stack = new DisposableStack();
    const senders: RawClient[] = [];
    for (const uid of USERS) senders.push(stack.use(await openAs(uid, broker.path)));
    const fds = Array.from({ length: FDS_EACH }, () => files.fd);
    for (const [index, sender] of senders.entries()) {
      const packet = messagePacket(await sender.openTopic("files.silent"), "", FDS_EACH);
      for (let count = 0; count < 3; count += 1) sender.trySend(packet, fds);
      await eventually(() => files.held > index, "a thread hangs for this user, too");
    }
    await eventually(() => broker.countFds() > (openFilesMax / 4) * 3, "it has taken the rest");
    expect(openFilesMax - broker.countFds()).toBeGreaterThan(FDS_RESERVED / 4);
    using administrator = await RawClient.open(broker.path, { lane: true });
    const { answer } = await administrator.request(OPCODE.QUERY, { what: "stats" });
    expect(JSON.parse(String(answer))[0].rssBytes).toBeGreaterThan(0);
    administrator[Symbol.dispose]();
    files.answer();
    stack.dispose();
    await broker.expectFds(atRest);
  });

  testWithSilentFiles("ends as promptly as ever, and leaves its place to the next", async () => {
    await using broker = await spawnBroker();
    await using files = await SilentFiles.mount();
    using _sender = await leaveToBroker(broker, files, 3);
    expect(await broker.stop()).toBe(0);
    expect(broker.find("stopped")).toBeDefined();
    expect(broker.find("fd-close-stuck")).toMatchObject({ count: 3 });
    expect(existsSync(broker.path)).toBe(false);
    // In this process, since exec(2) would close the silent file in any other, and hang.
    const next = Listener.open(broker.path, {
      mode: 0o600,
      verifiesPackets: false,
      keepFdsOut: false,
    });
    next.close();
    expect(files.held).toBe(1);
  });
});

describe("a broker that has closed nothing but memory", () => {
  test("has no thread for closing", async () => {
    await using broker = await spawnBroker();
    using files = new TestFiles(["a", "b"]);
    using sender = await RawClient.open(broker.path);
    const topic = await sender.openTopic("files.memory");
    sender.sendMessage(topic, "", files.fds);
    await sender.sync();
    expect(broker.countWorkers()).toBe(0);
  });
});
