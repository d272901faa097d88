/** From the first claim of a socket path to its release, and what clients are told on the way. */

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FDS_RESERVED } from "../../src/broker/fds/limits.ts";
import { ADMINISTRATORS_EXTRA_MAX, AWAITING_HELLO_PER_UID_MAX } from "../../src/broker/limits.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { bindPath, listen, openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { FLAG_FATAL, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, messagePacket, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker, startBroker } from "../support/spawned-broker.ts";

const isRoot = process.getuid?.() === 0;
const NOT_ROOT = "only root can give directories to others";

/** A temporary directory, removed at the end of a `using` block. */
class Directory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "seqbus-test-"));

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Starts a broker that must refuse to. @returns what it says */
async function refusalOf(path: string): Promise<{ code?: string; message: string }> {
  await using broker = startBroker({ path });
  expect(await broker.exited()).toBe(1);
  expect(broker.find("listening")).toBeUndefined();
  const failure = broker.find("failed");
  if (failure === undefined) throw new Error("The broker did not say why it failed");
  return failure;
}

/** The bus works: somebody hears somebody. */
async function expectService(broker: SpawnedBroker): Promise<void> {
  using client = await RawClient.open(broker.path);
  await client.subscribe("a");
  client.sendMessage(await client.openTopic("a"), "heard");
  expect(await client.nextTexts(1)).toEqual(["heard"]);
}

describe("a socket path", () => {
  test("is refused while another broker serves it, which goes on", async () => {
    await using first = await spawnBroker();
    const refusal = await refusalOf(first.path);
    expect(refusal.code).toBe("CONFIG_SOCKET_IN_USE");
    expect(refusal.message).toContain(first.path);
    await expectService(first);
  });

  test("is free again after the broker was killed", async () => {
    await using first = await spawnBroker();
    first.kill("SIGKILL");
    await first.exited();
    expect(existsSync(first.path)).toBe(true);
    await using second = await spawnBroker({ path: first.path });
    await expectService(second);
  });

  test("is refused where a file stands that is no socket, which stays", async () => {
    using directory = new Directory();
    const path = directory.file("bus.sock");
    writeFileSync(path, "precious");
    expect((await refusalOf(path)).code).toBe("CONFIG_SOCKET_IN_USE");
    expect(readFileSync(path, "utf8")).toBe("precious");
  });

  test("is refused where another program listens, which stays reachable", async () => {
    using directory = new Directory();
    const path = directory.file("bus.sock");
    using foreign = OwnedFd.adopt(openSeqpacket());
    bindPath(foreign.number, path);
    listen(foreign.number, 8);
    expect((await refusalOf(path)).code).toBe("CONFIG_SOCKET_IN_USE");
    using _client = RawClient.connect(path);
  });

  test("is refused where another program listens with streams", async () => {
    using directory = new Directory();
    const path = directory.file("bus.sock");
    const server = Bun.listen({ unix: path, socket: { data() {} } });
    try {
      expect((await refusalOf(path)).code).toBe("CONFIG_SOCKET_IN_USE");
      expect(existsSync(path)).toBe(true);
    } finally {
      server.stop(true);
    }
  });

  test("is refused in a directory that is missing", async () => {
    using directory = new Directory();
    const refusal = await refusalOf(directory.file("missing/bus.sock"));
    expect(refusal.code).toBe("CONFIG_SOCKET_DIRECTORY");
    expect(refusal.message).toContain("does not exist");
  });

  test("is refused in a directory that others can write to", async () => {
    using directory = new Directory();
    chmodSync(directory.path, 0o777);
    expect((await refusalOf(directory.file("bus.sock"))).code).toBe("CONFIG_SOCKET_DIRECTORY");
    chmodSync(directory.path, 0o1777);
    await using broker = await spawnBroker({ path: directory.file("bus.sock") });
    await expectService(broker);
  });

  testUnless(!isRoot, NOT_ROOT, "is refused in a directory of another user", async () => {
    using directory = new Directory();
    chownSync(directory.path, 65_534, 65_534);
    expect((await refusalOf(directory.file("bus.sock"))).code).toBe("CONFIG_SOCKET_DIRECTORY");
  });

  test("is refused where it is longer than a socket address", async () => {
    using directory = new Directory();
    const longest = directory.file("s".repeat(106 - directory.path.length));
    expect((await refusalOf(`${longest}s`)).code).toBe("ARGUMENT_SOCKET_PATH");
    await using broker = await spawnBroker({ path: longest });
    await expectService(broker);
  });

  test.each([
    ["everybody with a policy", '[[rule]]\ntopics=[">"]\nany=true\nallow=["publish"]\n', 0o666],
    ["its owner without", undefined, 0o600],
  ])("lets in %s", async (_whom, policy, mode) => {
    await using broker = await spawnBroker({ policy });
    expect(statSync(broker.path).mode & 0o777).toBe(mode);
  });
});

describe("a clean shutdown", () => {
  test("tells clients, removes the socket, and leaves the lock", async () => {
    await using broker = await spawnBroker();
    using client = await RawClient.open(broker.path);
    using silent = RawClient.connect(broker.path);
    await eventually(() => broker.findAll("connected").length === 2, "both are connected");
    expect(await broker.stop()).toBe(0);
    for (const each of [client, silent]) {
      const frames = await each.untilEnd();
      expect(frames.map(({ opcode }) => opcode)).toEqual([OPCODE.GOODBYE]);
      expect(frames[0] && mapOf(frames[0])).toMatchObject({ status: STATUS.CLOSED_BY_BROKER });
    }
    expect(broker.find("stopped")).toBeDefined();
    expect(existsSync(broker.path)).toBe(false);
    expect(existsSync(`${broker.path}.lock`)).toBe(true);
  });

  test("delivers what was queued before it says goodbye", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("a");
    const topic = await publisher.openTopic("a");
    const count = 80;
    for (let index = 0; index < count; index += 1) {
      await publisher.sendEventually(messagePacket(topic, `${index}`.padEnd(50_000)));
    }
    expect(await publisher.sync()).toMatchObject({ delivered: count });
    const stopped = broker.stop();
    const frames = await slow.untilEnd();
    const isMessage = ({ opcode }: { opcode: number }) => opcode === OPCODE.MESSAGE;
    expect(frames.filter(isMessage).map((frame) => Number(textOf(frame)))).toEqual(
      Array.from({ length: count }, (_, index) => index),
    );
    expect(frames.at(-1)?.opcode).toBe(OPCODE.GOODBYE);
    expect(await stopped).toBe(0);
  });

  test("does not wait for ever for a client that does not read", async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await slow.subscribe("a");
    const topic = await publisher.openTopic("a");
    for (let index = 0; index < 80; index += 1) {
      await publisher.sendEventually(messagePacket(topic, new Uint8Array(60_000)));
    }
    await publisher.sync();
    expect(await broker.stop()).toBe(0);
  });

  test("leaves a socket alone that took the place of its own", async () => {
    await using broker = await spawnBroker();
    renameSync(broker.path, `${broker.path}.moved`);
    using foreign = OwnedFd.adopt(openSeqpacket());
    bindPath(foreign.number, broker.path);
    expect(await broker.stop()).toBe(0);
    expect(existsSync(broker.path)).toBe(true);
  });
});

describe("a client that has not said HELLO", () => {
  test("is closed after a while with TIMEOUT_HELLO", async () => {
    await using broker = await spawnBroker({ clockSpeed: 20 });
    using greeted = await RawClient.open(broker.path);
    using silent = RawClient.connect(broker.path);
    const frames = await silent.untilEnd();
    expect(frames).toMatchObject([{ opcode: OPCODE.ERROR, flags: FLAG_FATAL, id: 0 }]);
    expect(frames[0] && mapOf(frames[0])).toMatchObject({ status: STATUS.TIMEOUT_HELLO });
    expect(await greeted.sync()).toMatchObject({ published: 0 });
  });

  test("makes way when its user has too many of them", async () => {
    await using broker = await spawnBroker();
    using greeted = await RawClient.open(broker.path);
    using oldest = RawClient.connect(broker.path);
    using clients = new DisposableStack();
    for (let count = 1; count < AWAITING_HELLO_PER_UID_MAX; count += 1) {
      clients.use(RawClient.connect(broker.path));
    }
    const connected = AWAITING_HELLO_PER_UID_MAX + 1;
    await eventually(() => broker.findAll("connected").length === connected, "all are accepted");
    expect(oldest.received()).toEqual([]);
    using newest = RawClient.connect(broker.path);
    const frames = await oldest.untilEnd();
    expect(frames).toMatchObject([{ opcode: OPCODE.ERROR, flags: FLAG_FATAL }]);
    expect(frames[0] && mapOf(frames[0])).toMatchObject({ status: STATUS.LIMIT_CONNECTIONS });
    newest.sendControl(OPCODE.HELLO, 0, { protocol: 1, features: 0 });
    expect((await newest.next()).opcode).toBe(OPCODE.WELCOME);
    expect(await greeted.sync()).toMatchObject({ published: 0 });
  });
});

describe("a broker with as many connections as it may have fds for", () => {
  test("refuses the next one with LIMIT_CONNECTIONS, and takes one again when one has left", async () => {
    const openFilesMax = 160;
    const connectionsMax = (openFilesMax - FDS_RESERVED) / 2;
    await using broker = await spawnBroker({ openFilesMax });
    using first = await RawClient.open(broker.path, { lane: true });
    const leaver = await RawClient.open(broker.path, { lane: true });
    using clients = new DisposableStack();
    // Of these, the last are administrators beyond the limit.
    for (let count = 2; count < connectionsMax + ADMINISTRATORS_EXTRA_MAX; count += 1) {
      clients.use(await RawClient.open(broker.path, { lane: true }));
    }
    using refused = RawClient.connect(broker.path);
    const frames = await refused.untilEnd();
    expect(frames).toMatchObject([{ opcode: OPCODE.ERROR, flags: FLAG_FATAL }]);
    const status = STATUS.LIMIT_CONNECTIONS;
    const said = frames[0] && mapOf(frames[0]);
    expect(said).toMatchObject({ status, limit: openFilesMax, actual: openFilesMax });
    leaver[Symbol.dispose]();
    await eventually(() => broker.findAll("disconnected").length === 2, "both have left");
    using _next = await RawClient.open(broker.path, { lane: true });
    expect(await first.sync()).toMatchObject({ published: 0 });
  });
});
