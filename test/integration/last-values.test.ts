/** Last values: kept by a real broker, with their files, and given to who comes later. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { RETAINED_OVERHEAD_BYTES } from "../../src/broker/retained/limits.ts";
import { type Bus, connect, type Message } from "../../src/client/index.ts";
import type { Subscription } from "../../src/client/subscription.ts";
import { LimitError, RejectedError } from "../../src/errors.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { getPeerCredentials } from "../../src/ffi/peer-credentials.ts";
import {
  acceptConnection,
  bindPath,
  connectPath,
  listen,
  openSeqpacket,
} from "../../src/ffi/seqpacket.ts";
import { BODY_PREFIX_BYTES, MESSAGE_BODY_BYTES_MAX } from "../../src/protocol/limits.ts";
import { FLAG_RETAINED, OPCODE } from "../../src/protocol/opcodes.ts";
import { TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { packetOf, RawClient, textOf } from "../support/raw-client.ts";
import { retainPacket } from "../support/retain-packet.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";
import { readText, TestFiles, takeTexts } from "../support/test-files.ts";

const LARGE = MESSAGE_BODY_BYTES_MAX + 1;

let broker: SpawnedBroker;

beforeEach(async () => {
  broker = await spawnBroker();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

async function open(): Promise<Bus> {
  return await connect({ path: broker.path });
}

async function next(subscription: Subscription): Promise<Message> {
  return (await subscription.next()).value;
}

async function hasLastValue(reader: RawClient, topic: string): Promise<boolean> {
  const subscription = await reader.subscribe(topic);
  await reader.request(OPCODE.UNSUBSCRIBE, { subscription });
  return reader.received().some(({ opcode }) => opcode === OPCODE.MESSAGE);
}

describe("a last value", () => {
  test("goes to who is there, and marked to who comes later", async () => {
    await using writer = await open();
    await using early = await open();
    const earlyMessages = await early.subscribe("state.*");
    writer.publish("state.a", { on: true }, { retain: true });
    expect(await writer.flush()).toMatchObject({ published: 1, delivered: 1 });

    await using late = await open();
    const live = await next(earlyMessages);
    const kept = await next(await late.subscribe("state.a"));

    expect(live).toMatchObject({ topic: "state.a", data: { on: true }, retained: false });
    expect(kept).toMatchObject({ topic: "state.a", data: { on: true }, retained: true });
    expect(kept.sender).toEqual(live.sender);
  });

  test("outlives its sender, which is named nevertheless", async () => {
    const writer = await open();
    writer.publish("state.a", "last words", { retain: true });
    await writer.flush();
    const { self } = writer;
    await writer.close();
    await eventually(() => broker.find("disconnected"), "the writer is gone");

    await using reader = await open();
    const kept = await next(await reader.subscribe(">"));

    expect(kept.sender).toMatchObject({ connection: self.connection, pid: process.pid });
    expect(kept.data).toBe("last words");
  });

  test("is announced with a dead sender that is taken back at once", async () => {
    using writer = await RawClient.open(broker.path);
    const topic = await writer.openTopic("state.a");
    writer.send(retainPacket(topic, "x"));
    await writer.sync();
    writer.socket.close();
    await eventually(() => broker.find("disconnected"), "the writer is gone");

    using reader = await RawClient.open(broker.path);
    await reader.subscribe("state.a");
    const frames = [await reader.next(), await reader.next(), await reader.next()];

    expect(frames.map(({ opcode }) => opcode)).toEqual([
      OPCODE.TOPIC,
      OPCODE.SENDER,
      OPCODE.MESSAGE,
    ]);
    expect(frames[2]).toMatchObject({ flags: FLAG_RETAINED, origin: writer.connection });
    expect(await reader.next()).toMatchObject({
      opcode: OPCODE.SENDER_GONE,
      id: writer.connection,
    });
  });

  test("is replaced by the next one, whoever sends it", async () => {
    await using first = await open();
    await using second = await open();
    first.publish("state.a", 1, { retain: true });
    await first.flush();
    second.publish("state.a", 2, { retain: true });
    await second.flush();

    const messages = await first.subscribe("state.a");
    second.publish("state.a", 3);

    expect([(await next(messages)).data, (await next(messages)).data]).toEqual([2, 3]);
  });

  test("is cleared, also right behind its publishing", async () => {
    await using bus = await open();
    bus.publish("state.a", 1, { retain: true });
    const cleared = bus.clearRetained("state.a");
    bus.publish("state.b", 2, { retain: true });

    expect(await cleared).toBe(true);
    expect(await bus.clearRetained("state.a")).toBe(false);
    expect((await next(await bus.subscribe("state.*"))).data).toBe(2);
  });

  test("is forgotten when its time is up", async () => {
    await using bus = await open();
    bus.publish("state.a", "short", { retain: true, retainFor: 20 });
    bus.publish("state.b", "long", { retain: true, retainFor: 60_000 });
    await bus.flush();
    using reader = await RawClient.open(broker.path);
    await eventually(async () => !(await hasLastValue(reader, "state.a")), "the time is up");

    expect(await hasLastValue(reader, "state.b")).toBe(true);
    expect((await next(await bus.subscribe("state.*"))).data).toBe("long");
    expect(await bus.clearRetained("state.a")).toBe(false);
  });

  test("comes to each subscription of one program once", async () => {
    await using bus = await open();
    bus.publish("state.a", 1, { retain: true });
    await bus.flush();
    const first = await bus.subscribe("state.*");
    expect((await next(first)).retained).toBe(true);

    const second = await bus.subscribe("state.>");
    expect((await next(second)).retained).toBe(true);
    bus.publish("state.a", 2);

    expect(await next(first)).toMatchObject({ data: 2, retained: false });
    expect(await next(second)).toMatchObject({ data: 2, retained: false });
  });

  test("may be as large as any message", async () => {
    await using bus = await open();
    const sizes = [MESSAGE_BODY_BYTES_MAX - BODY_PREFIX_BYTES, MESSAGE_BODY_BYTES_MAX, LARGE];
    for (const bytes of sizes) {
      bus.publish(`state.${bytes}`, new Uint8Array(bytes).fill(bytes % 251), { retain: true });
    }
    await bus.flush();

    await using late = await open();
    const messages = await late.subscribe("state.*");
    for (const bytes of sizes) {
      using message = await next(messages);
      expect(message).toMatchObject({ topic: `state.${bytes}`, retained: true });
      expect(message.bytes).toEqual(new Uint8Array(bytes).fill(bytes % 251));
    }
  });

  test("brings its files to three late subscribers after its sender was killed", async () => {
    const fdsAtRest = await broker.fdsAtRest();
    const writer = await connectAs(process.getuid?.() ?? 0, broker.path);
    await writer.call("retainFile", "state.config", "what it holds");
    await writer.call("flush");
    await writer[Symbol.asyncDispose]();
    await broker.expectFds(fdsAtRest + 1);

    for (let late = 0; late < 3; late += 1) {
      await using bus = await open();
      const message = await next(await bus.subscribe("state.*"));
      using file = message.fds.take(0);
      expect(readText(file.fd)).toBe("what it holds");
    }
    await broker.expectFds(fdsAtRest + 1);
  });

  test("lets go of its files when it is replaced, cleared or expired", async () => {
    using writer = await RawClient.open(broker.path);
    const fdsAtRest = await broker.fdsAtRest();
    const topic = await writer.openTopic("state.a");
    using files = new TestFiles(["a", "b", "c"]);
    writer.send(retainPacket(topic, "1", { fdCount: 3 }), files.fds);
    await broker.expectFds(fdsAtRest + 3);

    writer.send(retainPacket(topic, "2", { fdCount: 1 }), files.fds.slice(0, 1));
    await broker.expectFds(fdsAtRest + 1);

    await writer.request(OPCODE.CLEAR_RETAINED, { topic: "state.a" });
    await broker.expectFds(fdsAtRest);

    writer.send(retainPacket(topic, "3", { fdCount: 2, keptMs: 20 }), files.fds.slice(1));
    await broker.expectFds(fdsAtRest);
  });

  test("gives in-band readers their own copies", async () => {
    using writer = await RawClient.open(broker.path);
    const topic = await writer.openTopic("state.a");
    using files = new TestFiles(["a", "b"]);
    writer.send(retainPacket(topic, "1", { fdCount: 2 }), files.fds);
    await writer.sync();

    using reader = await RawClient.open(broker.path);
    await reader.subscribe("state.a");
    const message = await reader.nextOf(OPCODE.MESSAGE);

    expect(textOf(message)).toBe("1");
    expect(takeTexts(message.fds)).toEqual(["a", "b"]);
  });

  test("comes in full to a subscriber that reads slowly, 10,000 of them", async () => {
    const count = 10_000;
    const body = "x".repeat(2_000);
    for (let from = 0; from < count; from += count / 2) {
      await using writer = await open();
      for (let index = from; index < from + count / 2; index += 1) {
        writer.publish(`many.${index}`, body, { retain: true });
      }
      await writer.flush();
    }

    using reader = await RawClient.open(broker.path);
    await reader.ask(OPCODE.SUBSCRIBE, 0, { pattern: "many.*" });
    await using other = await open();
    expect((await next(await other.subscribe("many.9999"))).data).toBe(body);
    // Each takes a turn of the broker, in which it gives out some more as long as there is room.
    for (let turn = 0; turn < 100; turn += 1) await other.flush();
    const seen = new Map<number, number>();
    await eventually(() => {
      for (const { opcode } of reader.received()) seen.set(opcode, (seen.get(opcode) ?? 0) + 1);
      return (seen.get(OPCODE.MESSAGE) ?? 0) >= count;
    }, "all came");

    expect(seen.get(OPCODE.MESSAGE)).toBe(count);
    expect(seen.get(OPCODE.SENDER_GONE)).toBeGreaterThan(0);
    expect(seen.has(OPCODE.GAP)).toBe(false);
  });

  test("stands before live messages without hole or repetition, whenever one subscribes", async () => {
    await using writer = await open();
    let counter = 0;
    writer.publish("count.a", counter, { retain: true });
    await writer.flush();
    let isRunning = true;
    const writing = (async () => {
      while (isRunning) {
        for (let burst = 0; burst < 20; burst += 1) {
          counter += 1;
          writer.publish("count.a", counter, { retain: true });
        }
        await writer.flush();
      }
    })();
    const readers = Array.from({ length: 30 }, async (_, index) => {
      await using bus = await open();
      const messages = await bus.subscribe(index % 2 === 0 ? "count.a" : "count.>");
      const first = await next(messages);
      expect(first.retained).toBe(true);
      let last = Number(first.data);
      for (let seen = 0; seen < 200; seen += 1) {
        const message = await next(messages);
        expect(message).toMatchObject({ data: last + 1, retained: false });
        last += 1;
      }
    });
    await Promise.all(readers);
    isRunning = false;
    await writing;
  });

  test("is lost when the broker ends", async () => {
    await using bus = await open();
    bus.publish("state.a", 1, { retain: true });
    await bus.flush();
    const { path } = broker;
    await broker.stop();

    await using successor = await spawnBroker({ path });
    await using late = await connect({ path });
    expect(await late.clearRetained("state.a")).toBe(false);
    await successor.stop();
  });
});

describe("a packet with RETAIN", () => {
  test("may hold messages, requests and several last values", async () => {
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("state.a");
    await client.subscribe("state.a");
    const [retain, message] = [
      retainPacket(topic, "kept"),
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, Buffer.from("plain"));
      }),
    ];
    const packet = Buffer.concat([message, retain, message, retainPacket(topic, "newer"), message]);

    client.send(packet);

    expect(await client.nextTexts(5)).toEqual(["plain", "kept", "plain", "newer", "plain"]);
    using late = await RawClient.open(broker.path);
    await late.subscribe("state.a");
    expect(await late.nextTexts(1)).toEqual(["newer"]);
  });

  test.each([
    [
      "a topic that is not open",
      (topic: number) => retainPacket(topic + 1, "x"),
      "PROTOCOL_TOPIC_ID",
      9,
    ],
    [
      "a topic that it closed before",
      (topic: number) =>
        Buffer.concat([
          packetOf((writer) => writer.appendControl(OPCODE.CLOSE_TOPIC, 0, topic, undefined)),
          retainPacket(topic, "x"),
        ]),
      "PROTOCOL_TOPIC_ID",
      9,
    ],
    [
      "a prefix whose second number is not 0",
      (topic: number) => {
        const packet = retainPacket(topic, "x");
        packet[20] = 1;
        return packet;
      },
      "PROTOCOL_FLAGS",
      6,
    ],
  ])("ends the connection for %s", async (_what, packetOn, _code, status) => {
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("state.a");

    client.send(packetOn(topic));

    const [error] = (await client.untilEnd()).filter(({ opcode }) => opcode === OPCODE.ERROR);
    expect(error).toBeDefined();
    expect(Buffer.from(error?.body ?? []).includes(status)).toBe(true);
  });
});

describe("a listening socket", () => {
  const POLICY = `
[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = ["sockets.>"]
any = true
[[topic]]
topics = ["sockets.>"]
fds = ["socket"]
`;

  test("that was kept lets late subscribers accept what comes to it", async () => {
    await using own = await spawnBroker({ policy: POLICY });
    using directory = new TemporaryDirectory();
    const path = directory.file("service.sock");
    const listener = openSeqpacket();
    bindPath(listener, path);
    listen(listener, 8);
    {
      await using activator = await connect({ path: own.path });
      activator.publish("sockets.service", "accept here", { fds: [listener], retain: true });
      await activator.flush();
    }
    closeFd(listener);
    const guest = openSeqpacket();
    connectPath(guest, path);

    await using late = await connect({ path: own.path });
    using message = await next(await late.subscribe("sockets.*"));
    using kept = message.fds.take(0);
    const accepted = acceptConnection(kept.fd);

    expect(message.retained).toBe(true);
    expect(accepted).toBeGreaterThan(0);
    expect(getPeerCredentials(accepted).pid).toBe(process.pid);
    for (const fd of [accepted, guest]) closeFd(fd);
  });
});

describe("the policy", () => {
  const POLICY = `
[[rule]]
allow = ["publish", "subscribe", "send-fds"]
topics = ["open.>"]
any = true
[[topic]]
topics = ["open.never.>"]
retain = false
[limits]
retained-bytes = ${8 * RETAINED_OVERHEAD_BYTES}
`;

  beforeEach(async () => {
    await broker[Symbol.asyncDispose]();
    broker = await spawnBroker({ policy: POLICY });
  });

  test("refuses last values on topics with retain = false, and names the setting", async () => {
    await using bus = await open();
    const messages = await bus.subscribe("open.>");
    bus.publish("open.never.a", 1, { retain: true });

    const error = await bus.flush().catch((reason: unknown) => reason);

    expect(error).toBeInstanceOf(RejectedError);
    expect(error).toMatchObject({
      code: "REJECTED_RETAIN",
      topic: "open.never.a",
      rule: "policy.toml:6",
    });
    bus.publish("open.never.a", 2);
    expect((await next(messages)).data).toBe(2);
    const event = await eventually(() => broker.find("retain-refused"), "it was reported");
    expect(event).toMatchObject({ topic: "open.never.a", code: "REJECTED_RETAIN" });
  });

  test("lets a connection keep half of what its user may, and replace what it has", async () => {
    await using bus = await open();
    for (let index = 0; index < 3; index += 1) bus.publish(`open.${index}`, 1, { retain: true });
    await bus.flush();
    bus.publish("open.3", 1, { retain: true });

    const error = await bus.flush().catch((reason: unknown) => reason);

    expect(error).toBeInstanceOf(LimitError);
    expect(error).toMatchObject({ code: "LIMIT_RETAINED" });
    expect(String(error)).toContain(`limit is ${4 * RETAINED_OVERHEAD_BYTES}`);
    bus.publish("open.0", 2, { retain: true });
    await bus.flush();
    expect((await next(await bus.subscribe("open.0"))).data).toBe(2);
    expect(await bus.clearRetained("open.1")).toBe(true);
    bus.publish("open.3", 1, { retain: true });
    await bus.flush();
  });

  testUnless(
    process.getuid?.() !== 0,
    "it needs several users, so it runs as root only",
    "lets no user use up what another may keep",
    async () => {
      for (let writers = 0; writers < 4; writers += 1) {
        await using greedy = await connectAs(12_345, broker.path);
        for (let index = 0; index < 8; index += 1) {
          await greedy.call("retain", `open.greedy.${writers}.${index}`, index);
        }
        await greedy.call("flush").catch(() => {});
      }
      await using other = await connectAs(12_346, broker.path);
      await other.call("retain", "open.other", "mine");
      expect(await other.call("flush")).toMatchObject({ published: 1 });

      await using bus = await open();
      expect((await next(await bus.subscribe("open.other"))).data).toBe("mine");
    },
  );

  test("lets who may not publish clear nothing", async () => {
    await using bus = await open();

    const error = await bus.clearRetained("closed.a").catch((reason: unknown) => reason);

    expect(error).toMatchObject({ code: "REJECTED_BY_POLICY", topic: "closed.a" });
  });
});
