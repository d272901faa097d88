/** Clients that may send no files cannot put any into the broker's socket: SO_PASSRIGHTS. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect, type StatusEvent } from "../../src/client/index.ts";
import { sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { setPassRights } from "../../src/ffi/socket-options.ts";
import { FDS_UNWANTED } from "../../src/ffi/syscall-result.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { CliBroker } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, messagePacket, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

const READ_AND_WRITE = `[[rule]]
id = "read-and-write"
allow = ["publish", "subscribe", "receive-fds"]
topics = [">"]
any = true
`;

const FILES_TOO = `${READ_AND_WRITE}
[[rule]]
id = "files-there"
allow = ["send-fds"]
topics = ["files.>"]
any = true

[[rule]]
id = "none-here"
deny = ["send-fds"]
topics = ["plain.>"]
any = true
`;

const isUnknown = !isKnownToKernel();
const UNKNOWN = "the kernel does not know SO_PASSRIGHTS, which came with Linux 6.16";

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker({ policy: FILES_TOO });
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

function isKnownToKernel(): boolean {
  using socket = OwnedFd.adopt(openSeqpacket());
  return setPassRights(socket.number, true);
}

/** Sends a message with one file. @returns outcome of sendPacketWithFds() */
function trySendFile(client: RawClient, topicId: number): number {
  using files = new TestFiles(["file"]);
  return client.trySend(messagePacket(topicId, "message", 1), files.fds);
}

const SENT = messagePacket(1, "message", 1).byteLength;

describe("a client's files", () => {
  testUnless(isUnknown, UNKNOWN, "do not get in before HELLO, nor right after it", async () => {
    using silent = RawClient.connect(broker.path);
    expect(trySendFile(silent, 1)).toBe(FDS_UNWANTED);
    using client = await RawClient.open(broker.path);
    expect(trySendFile(client, 1)).toBe(FDS_UNWANTED);
    expect(await client.sync()).toMatchObject({ published: 0, denied: 0 });
  });

  testUnless(isUnknown, UNKNOWN, "get in once it opens a topic that may have them", async () => {
    using client = await RawClient.open(broker.path);
    const plain = await client.openTopic("plain.a");
    expect(trySendFile(client, plain)).toBe(FDS_UNWANTED);
    const files = await client.openTopic("files.a");
    expect(trySendFile(client, files)).toBe(SENT);
    expect(await client.sync()).toMatchObject({ published: 1, denied: 0 });
    expect(trySendFile(client, plain)).toBe(SENT);
    const refusal = await client.nextOf(OPCODE.ERROR);
    expect(mapOf(refusal)).toMatchObject({ status: STATUS.REJECTED_BY_POLICY, rule: "none-here" });
  });

  testUnless(isUnknown, UNKNOWN, "never get in by the lane", async () => {
    using client = await RawClient.open(broker.path, { lane: true });
    await client.openTopic("files.a");
    using files = new TestFiles(["file"]);
    const lane = client.lane?.number ?? -1;
    expect(sendPacketWithFds(lane, new PinnedBuffer(8), 0, 8, files.fds)).toBe(FDS_UNWANTED);
  });

  testUnless(isUnknown, UNKNOWN, "that are shut out leave the others alone", async () => {
    using client = await RawClient.open(broker.path);
    const plain = await client.openTopic("plain.a");
    client.sendMessage(plain, "before");
    expect(trySendFile(client, plain)).toBe(FDS_UNWANTED);
    client.sendMessage(plain, "after");
    expect(await client.sync()).toMatchObject({ published: 2, denied: 0 });
  });
});

test("OPEN_TOPIC tells which rule denies files", async () => {
  using client = await RawClient.open(broker.path);
  const open = (topic: string) => client.request(OPCODE.OPEN_TOPIC, { topic });
  const ack = await open("plain.a");
  expect(ack).toMatchObject({ sendFds: false, rule: "none-here" });
  expect(await open("plain.a")).toEqual(ack);
  expect(await open("other")).toEqual({ topic: expect.any(Number), sendFds: false });
  expect(await open("files.a")).toEqual({ topic: expect.any(Number), sendFds: true });
});

describe("Bus.publish() of files that the kernel refuses", () => {
  testUnless(isUnknown, UNKNOWN, "rejects by policy, with the rule", async () => {
    await using bus = await connect({ path: broker.path });
    using files = new TestFiles(["file"]);
    const refusal = {
      name: "RejectedError",
      code: "REJECTED_BY_POLICY",
      topic: "plain.a",
      rule: "none-here",
      message: 'Cannot publish file descriptors on "plain.a": rule "none-here" denies it',
    };
    bus.publish("plain.a", "first", { fds: files.fds });
    await expect(bus.flush()).rejects.toMatchObject(refusal);
    expect(() => bus.publish("plain.a", "second", { fds: files.fds })).toThrow(
      expect.objectContaining(refusal),
    );
    bus.publish("plain.a", "without");
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });
});

describe("a reload of the policy", () => {
  testUnless(isUnknown, UNKNOWN, "lets a client's files in, and shuts them out again", async () => {
    await using changing = await CliBroker.start(READ_AND_WRITE);
    using client = await RawClient.open(changing.socket);
    const topic = await client.openTopic("files.a");
    const reload = async (policy: string) => {
      changing.directory.write("policy.toml", policy);
      await client.request(OPCODE.RELOAD_POLICY);
      // Whatever comes first, the rights are those of the new policy from the next packet on.
      await client.sync();
    };
    expect(trySendFile(client, topic)).toBe(FDS_UNWANTED);
    await reload(FILES_TOO);
    expect(trySendFile(client, topic)).toBe(SENT);
    expect(await client.sync()).toMatchObject({ published: 1, denied: 0 });
    await reload(READ_AND_WRITE);
    expect(trySendFile(client, topic)).toBe(FDS_UNWANTED);
    const revoked = await client.nextOf(OPCODE.REVOKED);
    expect(mapOf(revoked)).toMatchObject({ action: "send-fds", topic: "files.a" });
    await reload(FILES_TOO);
    expect(trySendFile(client, topic)).toBe(SENT);
    expect(await client.sync()).toMatchObject({ published: 1, denied: 0 });
  });

  testUnless(isUnknown, UNKNOWN, "is told to a library client by the rule of the day", async () => {
    await using changing = await CliBroker.start(FILES_TOO);
    await using bus = await connect({ path: changing.socket });
    const events: StatusEvent[] = [];
    void (async () => {
      for await (const event of bus.status()) events.push(event);
    })();
    using files = new TestFiles(["file"]);
    const publish = () => bus.publish("files.a", "message", { fds: files.fds });
    publish();
    expect(await bus.flush()).toMatchObject({ published: 1 });
    const closed = FILES_TOO.replace('topics = ["plain.>"]', 'topics = [">"]');
    changing.directory.write("policy.toml", closed);
    await bus.reloadPolicy();
    await eventually(() => events.some(({ type }) => type === "revoked"), "the right is revoked");
    expect(publish).toThrow(
      expect.objectContaining({ code: "REJECTED_BY_POLICY", rule: "none-here" }),
    );
    changing.directory.write("policy.toml", FILES_TOO);
    await bus.reloadPolicy();
    await bus.flush();
    publish();
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });
});
