/** Clients that may publish nothing cannot put files into the broker's socket: SO_PASSRIGHTS. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { setPassRights } from "../../src/ffi/socket-options.ts";
import { FDS_UNWANTED } from "../../src/ffi/syscall-result.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { CliBroker } from "../support/cli-process.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, messagePacket, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

const READ = `[[rule]]
id = "all-read"
allow = ["subscribe", "receive-fds"]
topics = [">"]
any = true
`;

const WRITE_TOO = `${READ}
[[rule]]
id = "all-write-there"
allow = ["publish"]
topics = ["open.>"]
any = true
`;

const isUnknown = !isKnownToKernel();
const UNKNOWN = "the kernel does not know SO_PASSRIGHTS, which came with Linux 6.16";

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker({ policy: WRITE_TOO });
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

  testUnless(isUnknown, UNKNOWN, "do not get in while it only reads", async () => {
    using client = await RawClient.open(broker.path);
    await client.subscribe(">");
    expect((await client.requestFrame(OPCODE.OPEN_TOPIC, { topic: "closed" })).opcode).toBe(
      OPCODE.ERROR,
    );
    expect(trySendFile(client, 1)).toBe(FDS_UNWANTED);
  });

  testUnless(isUnknown, UNKNOWN, "get in once it may publish, to be refused by name", async () => {
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("open.a");
    expect(trySendFile(client, topic)).toBe(SENT);
    const refusal = await client.nextOf(OPCODE.ERROR);
    expect(mapOf(refusal)).toMatchObject({ status: STATUS.REJECTED_BY_POLICY, topic: "open.a" });
    expect(await client.sync()).toMatchObject({ published: 0, denied: 1 });
  });

  testUnless(isUnknown, UNKNOWN, "never get in by the lane", async () => {
    using client = await RawClient.open(broker.path, { lane: true });
    await client.openTopic("open.a");
    using files = new TestFiles(["file"]);
    const lane = client.lane?.number ?? -1;
    expect(sendPacketWithFds(lane, new PinnedBuffer(8), 0, 8, files.fds)).toBe(FDS_UNWANTED);
  });
});

test("a large body gets in without the right to send files", async () => {
  await using publisher = await connect({ path: broker.path });
  await using reader = await connect({ path: broker.path });
  const messages = await reader.subscribe("open.large");
  const body = new Uint8Array(200_000).fill(7);
  publisher.publish("open.large", body);
  expect(await publisher.flush()).toMatchObject({ published: 1, delivered: 1 });
  const { value } = await messages.next();
  expect(value?.bytes).toEqual(body);
});

describe("a reload of the policy", () => {
  testUnless(isUnknown, UNKNOWN, "shuts a client's files out, and lets them in again", async () => {
    await using changing = await CliBroker.start(WRITE_TOO);
    using client = await RawClient.open(changing.socket);
    const topic = await client.openTopic("open.a");
    const reload = async (policy: string) => {
      changing.directory.write("policy.toml", policy);
      await client.request(OPCODE.RELOAD_POLICY);
      // The rights are those of the new policy before the next packet, if not earlier.
      await client.sync();
    };
    expect(trySendFile(client, topic)).toBe(SENT);
    await reload(READ);
    expect(trySendFile(client, topic)).toBe(FDS_UNWANTED);
    const revoked = await client.nextOf(OPCODE.REVOKED);
    expect(mapOf(revoked)).toMatchObject({ action: "publish", topic: "open.a" });
    await reload(WRITE_TOO);
    expect(trySendFile(client, topic)).toBe(SENT);
    expect(await client.sync()).toMatchObject({ published: 0, denied: 1 });
  });
});
