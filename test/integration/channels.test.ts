/** Private channels: who gets one, what comes of it, and that the broker keeps nothing. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { PacketReceiver, sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { closeFd, OwnedFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { openSeqpacket, sendPacket } from "../../src/ffi/seqpacket.ts";
import { setPassRights } from "../../src/ffi/socket-options.ts";
import { FDS_UNWANTED, PEER_CLOSED } from "../../src/ffi/syscall-result.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, packetOf, RawClient, type RawFrame, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles, takeTexts } from "../support/test-files.ts";
import { countingBytes, memoryOf } from "../support/test-memory.ts";

const ASK = 900;
const NO_PASSRIGHTS = "the kernel does not know SO_PASSRIGHTS";

const POLICY = `
[[rule]]
id = "all"
allow = ["publish", "subscribe", "call", "serve", "channel", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[rule]]
id = "no-channel"
deny = ["channel"]
topics = ["closed.>"]
any = true
`;

let broker: SpawnedBroker;
let fdsAlone: number;

beforeAll(async () => {
  broker = await spawnBroker({ policy: POLICY });
  fdsAlone = await broker.fdsAtRest();
});

afterEach(async () => {
  await broker.expectFds(fdsAlone);
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

/** One side's ends. */
class Ends implements Disposable {
  readonly packets: OwnedFd;
  readonly lane: OwnedFd;
  readonly #receiver = new PacketReceiver(new PinnedBuffer(64));
  readonly #buffer = new PinnedBuffer(64);

  constructor({ fds }: RawFrame) {
    const [packets, lane] = fds;
    if (fds.length !== 2) throw new Error(`A channel has two ends, not ${fds.length}`);
    this.packets = OwnedFd.adopt(packets ?? -1);
    this.lane = OwnedFd.adopt(lane ?? -1);
  }

  send(text: string): number {
    const { written } = new TextEncoder().encodeInto(text, this.#buffer.bytes);
    return sendPacket(this.packets.number, this.#buffer, 0, written);
  }

  sendFds(socket: OwnedFd, fds: readonly number[]): number {
    return sendPacketWithFds(socket.number, this.#buffer, 0, 8, fds);
  }

  /** What came; undefined at the end. */
  receive(): string | undefined {
    const bytes = this.#receiver.receive(this.packets.number);
    if (bytes === PEER_CLOSED) return undefined;
    return new TextDecoder().decode(this.#receiver.buffer.bytes.slice(0, Math.max(0, bytes)));
  }

  receiveFds(): number[] {
    this.#receiver.receive(this.lane.number);
    return this.#receiver.takeFds();
  }

  [Symbol.dispose](): void {
    this.packets.close();
    this.lane.close();
  }
}

function knowsPassRights(): boolean {
  using socket = OwnedFd.adopt(openSeqpacket());
  return setPassRights(socket.number, true);
}

async function refusal(client: RawClient, service: string): Promise<unknown> {
  client.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service });
  const error = await client.nextOf(OPCODE.ERROR);
  expect(error.id).toBe(ASK);
  return mapOf(error);
}

describe("OPEN_CHANNEL", () => {
  test.each([
    [false, false],
    [true, true],
    [true, false],
  ])("gives both their ends, and who the other is; lanes: %p and %p", async (first, second) => {
    using asker = await RawClient.open(broker.path, { lane: first });
    using server = await RawClient.open(broker.path, { lane: second });
    await server.serve("channel.one", { channels: true });
    asker.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service: "channel.one" });
    expect(await server.next()).toMatchObject({ opcode: OPCODE.SENDER, id: asker.connection });
    const served = await server.next();
    expect(served).toMatchObject({ opcode: OPCODE.CHANNEL, id: 0, fdCount: 2 });
    expect(mapOf(served)).toEqual({ service: "channel.one", peer: asker.connection });
    expect(await asker.next()).toMatchObject({ opcode: OPCODE.SENDER, id: server.connection });
    const asked = await asker.next();
    expect(asked).toMatchObject({ opcode: OPCODE.CHANNEL, id: ASK, fdCount: 2 });
    expect(mapOf(asked)).toEqual({ service: "channel.one", peer: server.connection });
    using ours = new Ends(asked);
    using theirs = new Ends(served);
    await broker.expectFds(fdsAlone + 2 + Number(first) + Number(second));
    ours.send("to them");
    theirs.send("to us");
    expect([theirs.receive(), ours.receive()]).toEqual(["to them", "to us"]);
    using files = new TestFiles(["mine"]);
    expect(theirs.sendFds(theirs.lane, files.fds)).toBe(8);
    expect(takeTexts(ours.receiveFds())).toEqual(["mine"]);
    ours.packets.close();
    // The broker closes its own copies by a thread.
    await eventually(() => theirs.receive() === undefined, "the other side has ended");
  });

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "gives ends for packets that take no fds",
    async () => {
      using client = await RawClient.open(broker.path);
      await client.serve("channel.self", { channels: true });
      client.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service: "channel.self" });
      using one = new Ends(await client.nextOf(OPCODE.CHANNEL));
      using other = new Ends(await client.nextOf(OPCODE.CHANNEL));
      using files = new TestFiles(["mine"]);
      expect(one.sendFds(one.packets, files.fds)).toBe(FDS_UNWANTED);
      expect(other.sendFds(other.packets, files.fds)).toBe(FDS_UNWANTED);
    },
  );

  test("is refused with the reason", async () => {
    using asker = await RawClient.open(broker.path);
    using server = await RawClient.open(broker.path);
    await server.serve("channel.none");
    await server.serve("closed.one", { channels: true });
    expect(await refusal(asker, "channel.none")).toMatchObject({
      status: STATUS.REJECTED_NO_CHANNEL,
      topic: "channel.none",
    });
    expect(await refusal(asker, "channel.nobody")).toMatchObject({
      status: STATUS.REJECTED_NO_SERVICE,
    });
    expect(await refusal(asker, "closed.one")).toMatchObject({
      status: STATUS.REJECTED_BY_POLICY,
      rule: "no-channel",
    });
    expect(await refusal(asker, "$bus.a")).toMatchObject({ status: STATUS.REJECTED_TOPIC_NAME });
    const denied = await eventually(() => broker.find("denied"), "the denial is an event");
    expect(denied).toMatchObject({ action: "channel", topic: "closed.one" });
  });

  test("finds the member of a shared service that takes channels", async () => {
    using asker = await RawClient.open(broker.path);
    using first = await RawClient.open(broker.path);
    using second = await RawClient.open(broker.path);
    await first.serve("channel.shared", { shared: true });
    await second.serve("channel.shared", { shared: true, channels: true });
    asker.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service: "channel.shared" });
    using _theirs = new Ends(await second.nextOf(OPCODE.CHANNEL));
    using _ours = new Ends(await asker.nextOf(OPCODE.CHANNEL));
    await first.sync();
    expect(first.received()).toEqual([]);
  });

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "is refused where one side cannot take fds, and has ended for the other",
    async () => {
      for (const refuser of ["asker", "server"]) {
        using asker = await RawClient.open(broker.path);
        using server = await RawClient.open(broker.path);
        await server.serve("channel.deaf", { channels: true });
        const deaf = refuser === "asker" ? asker : server;
        setPassRights(deaf.socket.number, false);
        asker.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service: "channel.deaf" });
        const error = await asker.nextOf(OPCODE.ERROR);
        expect(error.id).toBe(ASK);
        expect(mapOf(error)["status"]).toBe(STATUS.LIMIT_QUEUED_FDS);
        if (deaf === asker) {
          using ends = new Ends(await server.nextOf(OPCODE.CHANNEL));
          await eventually(() => ends.receive() === undefined, "the other side has ended");
        }
        for (const client of [asker, server]) {
          await client.sync();
          expect(client.received().filter(({ opcode }) => opcode !== OPCODE.SENDER)).toEqual([]);
        }
        await server.request(OPCODE.UNSERVE, { service: await server.serve("channel.deaf") });
      }
    },
  );

  test("asked for in a burst, gives all their ends in order", async () => {
    await using fresh = await spawnBroker({ policy: POLICY });
    using asker = await RawClient.open(fresh.path);
    using server = await RawClient.open(fresh.path);
    await server.serve("channel.many", { channels: true });
    await server.subscribe("files");
    const topic = await asker.openTopic("files");
    using file = memoryOf(countingBytes(1));
    fresh.kill("SIGSTOP");
    for (let round = 0; round < 4; round += 1) {
      asker.sendMessage(topic, `${round}`, [file.number]);
      asker.sendControl(OPCODE.OPEN_CHANNEL, ASK + round, { service: "channel.many" });
    }
    asker.sendMessage(topic, "last");
    fresh.kill("SIGCONT");
    for (let round = 0; round < 4; round += 1) {
      const message = await server.nextOf(OPCODE.MESSAGE);
      expect([textOf(message), message.fdCount]).toEqual([`${round}`, 1]);
      for (const fd of message.fds) closeFd(fd);
      using theirs = new Ends(await server.next());
      const asked = await asker.nextOf(OPCODE.CHANNEL);
      expect(asked.id).toBe(ASK + round);
      using ours = new Ends(asked);
      ours.send(`${round}`);
      expect(theirs.receive()).toBe(`${round}`);
    }
    expect(textOf(await server.next())).toBe("last");
    // What the server could put files into is closed by a thread.
    await eventually(() => fresh.countWorkers() === 1, "there is a thread for closing");
  });

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "asked for in a burst, goes to the next member where one cannot take fds",
    async () => {
      await using fresh = await spawnBroker({ policy: POLICY });
      using asker = await RawClient.open(fresh.path);
      using deaf = await RawClient.open(fresh.path);
      using other = await RawClient.open(fresh.path);
      for (const member of [deaf, other]) {
        await member.serve("channel.two", { shared: true, channels: true });
      }
      setPassRights(deaf.socket.number, false);
      fresh.kill("SIGSTOP");
      for (let count = 0; count < 3; count += 1) {
        asker.sendControl(OPCODE.OPEN_CHANNEL, ASK + count, { service: "channel.two" });
      }
      fresh.kill("SIGCONT");
      for (let count = 0; count < 3; count += 1) {
        using theirs = new Ends(await other.nextOf(OPCODE.CHANNEL));
        using ours = new Ends(await asker.nextOf(OPCODE.CHANNEL));
        ours.send("through");
        expect(theirs.receive()).toBe("through");
      }
      await fresh.expectFds(fdsAlone + 3);
    },
  );

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "is closed at once where nobody takes it",
    async () => {
      await using fresh = await spawnBroker({ policy: POLICY });
      using client = await RawClient.open(fresh.path);
      await client.serve("channel.none", { channels: true });
      setPassRights(client.socket.number, false);
      await refusal(client, "channel.none");
      expect(fresh.countWorkers()).toBe(0);
    },
  );

  test("is told to the administrator where it gave a channel, and counted", async () => {
    using asker = await RawClient.open(broker.path);
    using server = await RawClient.open(broker.path);
    await server.serve("channel.told", { channels: true });
    await server.serve("channel.untold");
    expect(await refusal(asker, "channel.untold")).toBeDefined();
    asker.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service: "channel.told" });
    using _theirs = new Ends(await server.nextOf(OPCODE.CHANNEL));
    using _ours = new Ends(await asker.nextOf(OPCODE.CHANNEL));

    const all = await broker.reportedSoFar("channel-opened");
    const ours = all.filter(({ connection }) => connection === asker.connection);
    const { pid } = process;
    const identity = { uid: process.getuid?.(), pid };
    expect(ours).toHaveLength(1);
    expect(ours).toMatchObject([
      { topic: "channel.told", identity, server: server.connection, serverIdentity: { pid } },
    ]);
    const { answer } = await asker.request(OPCODE.QUERY, { what: "stats" });
    const [{ events }] = JSON.parse(String(answer)) as [{ events: Record<string, number> }];
    expect(events["channel-opened"]).toBe(all.length);
  });

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "is not told as opened where the asker cannot take its ends",
    async () => {
      using asker = await RawClient.open(broker.path);
      using server = await RawClient.open(broker.path);
      await server.serve("channel.lost", { channels: true });
      setPassRights(asker.socket.number, false);
      expect(await refusal(asker, "channel.lost")).toMatchObject({
        status: STATUS.LIMIT_QUEUED_FDS,
      });
      using _theirs = new Ends(await server.nextOf(OPCODE.CHANNEL));
      const all = await broker.reportedSoFar("channel-opened");
      expect(all.filter(({ connection }) => connection === asker.connection)).toEqual([]);
    },
  );

  test("leaves nothing behind where the asker goes at once", async () => {
    using server = await RawClient.open(broker.path);
    await server.serve("channel.gone", { channels: true });
    for (let count = 0; count < 50; count += 1) {
      using asker = await RawClient.open(broker.path);
      const packet = packetOf((writer) =>
        writer.appendControl(OPCODE.OPEN_CHANNEL, 0, ASK, { service: "channel.gone" }),
      );
      asker.send(packet);
      asker.socket.close();
      const frame = await server.nextOf(OPCODE.CHANNEL);
      for (const fd of frame.fds) closeFd(fd);
    }
  });
});
