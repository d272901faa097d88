/**
 * What each overflow policy does to a subscriber that does not read, on real sockets: what it gets,
 * what it is told, and who waits.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STALL_LIMIT_MS } from "../../src/broker/reading/limits.ts";
import { SEND_QUEUE_BYTES_MAX, SEND_QUEUE_FDS_HOLD } from "../../src/broker/sending/limits.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { GAP_REASON, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import type { OverflowPolicy } from "../../src/protocol/words.ts";
import { eventually } from "../support/eventually.ts";
import {
  FLOOD_MESSAGES,
  flood,
  floodUntilHeld,
  numberedPacket,
  numberOf,
} from "../support/numbered-flood.ts";
import { isAsleep } from "../support/process-state.ts";
import { mapOf, messagePacket, packetOf, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";
import { numberedTexts, TestFiles, takeTexts } from "../support/test-files.ts";

const UID = process.getuid?.() ?? 0;

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

/** Sends numbered messages with one of the files each, in turn. */
async function sendFiles(
  publisher: RawClient,
  topic: number,
  { fds }: TestFiles,
  count: number,
): Promise<void> {
  const body = new Uint8Array(8);
  for (let number = 0; number < count; number += 1) {
    new DataView(body.buffer).setUint32(0, number, true);
    await publisher.sendEventually(messagePacket(topic, body, 1), [fds[number % fds.length] ?? -1]);
  }
}

async function subscribe(client: RawClient, pattern: string, overflow: OverflowPolicy) {
  await client.request(OPCODE.SUBSCRIBE, { pattern, overflow });
}

/** Numbers of messages that come until there are `count`. */
async function numbers(client: RawClient, count: number): Promise<number[]> {
  const seen: number[] = [];
  await eventually(
    () => {
      for (const frame of client.received()) {
        if (frame.opcode === OPCODE.GAP) throw new Error("Something was lost");
        if (frame.opcode === OPCODE.MESSAGE) seen.push(numberOf(frame));
        for (const fd of frame.fds) closeFd(fd);
      }
      return seen.length >= count;
    },
    () => `${count} messages came, ${seen.length} did`,
  );
  return seen;
}

/** Sends up to 64 packets of small messages, as far as there is room. @returns the next number */
function sendSmall(publisher: RawClient, topic: number, first: number, end: number): number {
  const body = new Uint8Array(4);
  const view = new DataView(body.buffer);
  let next = first;
  for (let packets = 0; packets < 64 && next < end; packets += 1) {
    const bytes = packetOf((writer) => {
      for (let number = next; number < next + 2_000; number += 1) {
        view.setUint32(0, number, true);
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body);
      }
    });
    if (publisher.trySend(bytes) < 0) break;
    next += 2_000;
  }
  return next;
}

/** Reads what is there, which must go on with `first`. @returns the next number */
function readInOrder(client: RawClient, first: number): number {
  let next = first;
  for (const frame of client.received()) {
    if (frame.opcode === OPCODE.GAP) throw new Error("Something was lost");
    if (frame.opcode !== OPCODE.MESSAGE) continue;
    if (numberOf(frame) !== next) throw new Error(`${numberOf(frame)} is not ${next}`);
    next += 1;
  }
  return next;
}

/** Asks the broker something again and again: it answers, and has nothing else to do. */
async function restsAfterEach(bystander: RawClient): Promise<void> {
  for (let questions = 0; questions < 10; questions += 1) {
    expect(await bystander.sync()).toMatchObject({ published: 0 });
    await isAsleep(broker.pid);
  }
}

function endOf({ connection }: RawClient) {
  return expect.objectContaining({ connection });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

describe("drop-oldest", () => {
  test("gives the newest to a stopped program that goes on, which knows what it lost", async () => {
    using publisher = await RawClient.open(broker.path);
    await using client = await connectAs(UID, broker.path);
    await client.call("subscribe", "flood", { overflow: "drop-oldest" });
    const topic = await publisher.openTopic("flood");
    client.kill("SIGSTOP");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    expect(await publisher.sync()).toMatchObject({ delivered: FLOOD_MESSAGES, dropped: 0 });
    client.kill("SIGCONT");
    await eventually(async () => {
      const { queued, lost } = await client.call("counts");
      return lost > 0 && queued + lost === FLOOD_MESSAGES;
    }, "the client has counted what came and what did not");
  });

  test("tells the gap in its place", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "flood", "drop-oldest");
    const topic = await publisher.openTopic("flood");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    const { delivered, lostLater } = await publisher.sync();
    expect(delivered).toBe(FLOOD_MESSAGES);
    let next = 0;
    let gaps = 0;
    let lost = 0;
    while (next < FLOOD_MESSAGES) {
      const frame = await slow.next();
      if (frame.opcode === OPCODE.GAP) {
        expect(mapOf(frame)["reason"]).toBe(GAP_REASON.OLDEST_DROPPED);
        lost += Number(mapOf(frame)["count"]);
        next += Number(mapOf(frame)["count"]);
        gaps += 1;
      } else if (frame.opcode === OPCODE.MESSAGE) {
        expect(numberOf(frame)).toBe(next);
        next += 1;
      }
    }
    expect(gaps).toBe(1);
    expect(lostLater).toBe(lost);
    expect(await publisher.sync()).toMatchObject({ lostLater: 0, superseded: 0 });
  });

  test("tells each publisher what was lost of its own", async () => {
    using first = await RawClient.open(broker.path);
    using second = await RawClient.open(broker.path);
    const gone = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "flood", "drop-oldest");
    const publishers = [first, second, gone];
    const topics = await Promise.all(publishers.map((each) => each.openTopic("flood")));
    const lost = [0, 0];
    const addLost = async () => {
      for (const [index, publisher] of [first, second].entries()) {
        lost[index] = (lost[index] ?? 0) + Number((await publisher.sync())["lostLater"]);
      }
    };
    const rounds = FLOOD_MESSAGES / 64;
    for (let round = 0; round < rounds; round += 1) {
      for (const [index, publisher] of publishers.entries()) {
        await publisher.sendEventually(numberedPacket([topics[index] ?? 0], 0, 16 * (index + 1)));
      }
      if (round % 4 === 0) await addLost();
    }
    gone[Symbol.dispose]();
    await addLost();
    await slow.sync();
    const origins = slow.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE);
    const came = (id: number) => origins.filter(({ origin }) => origin === id).length;
    expect(lost[0]).toBeGreaterThan(0);
    expect(lost).toEqual([
      16 * rounds - came(first.connection),
      32 * rounds - came(second.connection),
    ]);
  });
});

describe("latest-per-topic", () => {
  test("gives the newest of each topic to a stopped program that goes on", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "state.*", "latest-per-topic");
    const topics = [];
    for (let index = 0; index < 10; index += 1) {
      topics.push(await publisher.openTopic(`state.${index}`));
    }
    await flood(publisher, topics, FLOOD_MESSAGES);
    const { lostLater, superseded } = await publisher.sync();
    const newest = new Map<number, number>();
    let counted = 0;
    let told = 0;
    await eventually(() => {
      for (const frame of slow.received()) {
        if (frame.opcode === OPCODE.GAP) {
          expect(mapOf(frame)["reason"]).toBe(GAP_REASON.SUPERSEDED);
          told += Number(mapOf(frame)["count"]);
          counted += Number(mapOf(frame)["count"]);
        } else if (frame.opcode === OPCODE.MESSAGE) {
          newest.set(frame.id, numberOf(frame));
          counted += 1;
        }
      }
      return counted === FLOOD_MESSAGES;
    }, "every message came or was told");
    expect([...newest.values()].sort((a, b) => a - b)).toEqual(
      range(FLOOD_MESSAGES - 10, FLOOD_MESSAGES),
    );
    expect(lostLater).toBe(0);
    expect(superseded).toBe(told);
  });

  test("supersedes nothing for a client that also subscribes without a word", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "state.*", "latest-per-topic");
    await slow.subscribe("state.both");
    const topic = await publisher.openTopic("state.both");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    expect(await publisher.sync()).toMatchObject({ lostLater: 0, superseded: 0 });
    const seen: number[] = [];
    let dropped = 0;
    while (seen.length + dropped < FLOOD_MESSAGES) {
      const frame = await slow.next();
      if (frame.opcode === OPCODE.GAP) {
        expect(mapOf(frame)["reason"]).toBe(GAP_REASON.SEND_QUEUE_FULL);
        dropped += Number(mapOf(frame)["count"]);
      } else if (frame.opcode === OPCODE.MESSAGE) seen.push(numberOf(frame));
    }
    expect(dropped).toBeGreaterThan(0);
    expect(seen).toEqual(range(0, FLOOD_MESSAGES - dropped));
  });
});

describe("disconnect", () => {
  test("ends a stopped program, which learns why, and nobody else", async () => {
    using publisher = await RawClient.open(broker.path);
    await using client = await connectAs(UID, broker.path);
    await client.call("subscribe", "flood", { overflow: "disconnect" });
    const topic = await publisher.openTopic("flood");
    client.kill("SIGSTOP");
    await flood(publisher, [topic], FLOOD_MESSAGES);
    const isSlow = () =>
      broker.findAll("disconnected").find(({ code }) => code === "LIMIT_SLOW_READER");
    const event = await eventually(isSlow, "the slow client was disconnected");
    const { limit, actual } = event;
    expect(limit).toBe(SEND_QUEUE_BYTES_MAX);
    expect(event.message).toContain(`${actual} bytes would wait for it, limit is ${limit}`);
    // It was too much together with what found no room.
    expect(actual).toBeGreaterThan(SEND_QUEUE_BYTES_MAX);
    expect(event.identity.uid).toBe(UID);
    client.kill("SIGCONT");
    expect(await client.call("reasonOfEnd")).toBe("LIMIT_SLOW_READER");
    expect(await client.call("figuresOfEnd")).toEqual({ limit, actual });
    expect(await publisher.sync()).toMatchObject({ published: FLOOD_MESSAGES });
  });
});

describe("block", () => {
  test("brings a million messages through a slow subscriber without a loss", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "all", "block");
    const topic = await publisher.openTopic("all");
    const count = 1_000_000;
    let sent = 0;
    let next = 0;
    while (next < count) {
      sent = sendSmall(publisher, topic, sent, count);
      await new Promise((resolve) => setImmediate(resolve));
      // Reads far less often than the other side writes.
      if (sent - next > 200_000 || sent === count) next = readInOrder(slow, next);
    }
    expect(await publisher.sync()).toMatchObject({ published: count, dropped: 0 });
  });

  test("holds back who publishes there, and nobody else, and does not spin", async () => {
    using publisher = await RawClient.open(broker.path);
    using bystander = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "held", "block");
    const topic = await publisher.openTopic("held");
    const sent = await floodUntilHeld(publisher, topic);
    await restsAfterEach(bystander);
    // Else what was seen is how it rests once the slow one is closed.
    expect(await broker.reportedSoFar("disconnected")).not.toContainEqual(endOf(slow));
    expect(await numbers(slow, sent)).toEqual(range(0, sent));
  });

  test("holds a message with files, and passes them on afterwards", async () => {
    using files = new TestFiles(["text"]);
    using publisher = await RawClient.open(broker.path);
    using other = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "held", "block");
    const topic = await publisher.openTopic("held");
    await other.openTopic("held");
    const sent = await floodUntilHeld(publisher, topic);
    const fds = await broker.fdsAtRest();
    other.send(messagePacket(topic, numberedPacket([topic], sent, 1).slice(16), 1), files.fds);
    await broker.expectFds(fds + 1);
    expect((await numbers(slow, sent + 1)).toSorted((a, b) => a - b)).toEqual(range(0, sent + 1));
    await broker.expectFds(fds);
  });

  test("brings messages with files through a slow subscriber, each with its own", async () => {
    using files = new TestFiles(numberedTexts("file", 16));
    // Nobody else leaves this one while its files are counted.
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "files", "block");
    const topic = await publisher.openTopic("files");
    const fds = broker.countFds();
    const count = 3_000;
    const sending = sendFiles(publisher, topic, files, count);
    const held = "the broker holds as many files as may wait";
    await eventually(() => broker.countFds() > fds + SEND_QUEUE_FDS_HOLD, held);
    for (let number = 0; number < count; number += 1) {
      const frame = await slow.nextOf(OPCODE.MESSAGE);
      expect(numberOf(frame)).toBe(number);
      expect(takeTexts(frame.fds)).toEqual([`file ${number % 16}`]);
    }
    await sending;
    await broker.expectFds(fds);
  });

  test("closes the files of all that was received behind a held message at the end", async () => {
    using files = new TestFiles(numberedTexts("file", 16));
    await using broker = await spawnBroker();
    const before = broker.countFds();
    const publisher = await RawClient.open(broker.path);
    const slow = await RawClient.open(broker.path);
    await subscribe(slow, "files", "block");
    const topic = await publisher.openTopic("files");
    const sending = sendFiles(publisher, topic, files, 3_000).catch(() => "closed");
    const held = "the broker holds as many files as may wait";
    await eventually(() => broker.countFds() > before + SEND_QUEUE_FDS_HOLD, held);
    publisher[Symbol.dispose]();
    expect(await sending).toBe("closed");
    slow[Symbol.dispose]();
    await broker.expectFds(before);
  });

  test("closes the files of a held message when the subscriber or the publisher ends", async () => {
    using files = new TestFiles(["text"]);
    using publisher = await RawClient.open(broker.path);
    const other = await RawClient.open(broker.path);
    const slow = await RawClient.open(broker.path);
    await subscribe(slow, "held", "block");
    const topic = await publisher.openTopic("held");
    await other.openTopic("held");
    const fds = await broker.fdsAtRest();
    await floodUntilHeld(publisher, topic);
    other.send(messagePacket(topic, "text", 1), files.fds);
    await broker.expectFds(fds + 1);
    other[Symbol.dispose]();
    slow[Symbol.dispose]();
    await broker.expectFds(fds - 2);
  });

  test("delivers all that a publisher sent which ended while it was held", async () => {
    const publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "held", "block");
    const sent = await floodUntilHeld(publisher, await publisher.openTopic("held"));
    publisher[Symbol.dispose]();
    using bystander = await RawClient.open(broker.path);
    await restsAfterEach(bystander);
    expect(await broker.reportedSoFar("disconnected")).not.toContainEqual(endOf(slow));
    expect(await numbers(slow, sent)).toEqual(range(0, sent));
  });

  test("lets publishers go on when the subscriber ends", async () => {
    using publisher = await RawClient.open(broker.path);
    const slow = await RawClient.open(broker.path);
    await subscribe(slow, "held", "block");
    const sent = await floodUntilHeld(publisher, await publisher.openTopic("held"));
    slow[Symbol.dispose]();
    expect(await publisher.sync()).toMatchObject({ published: sent });
  });

  test("does not lock up a client that publishes to itself", async () => {
    using self = await RawClient.open(broker.path);
    await subscribe(self, "held", "block");
    const sent = await floodUntilHeld(self, await self.openTopic("held"));
    expect(await numbers(self, sent)).toEqual(range(0, sent));
    expect(await self.sync()).toMatchObject({ published: sent, delivered: sent });
  });

  test("is no obstacle to a clean shutdown", async () => {
    await using own = await spawnBroker();
    using publisher = await RawClient.open(own.path);
    using slow = await RawClient.open(own.path);
    await subscribe(slow, "held", "block");
    await floodUntilHeld(publisher, await publisher.openTopic("held"));
    own.kill("SIGTERM");
    const frames = await slow.untilEnd();
    const seen = frames.filter(({ opcode }) => opcode === OPCODE.MESSAGE).map(numberOf);
    expect(seen).toEqual(range(0, seen.length));
    expect(frames.at(-1)?.opcode).toBe(OPCODE.GOODBYE);
  });

  test("ends a subscriber that takes nothing for STALL_LIMIT_MS, and says so to it", async () => {
    using publisher = await RawClient.open(broker.path);
    using slow = await RawClient.open(broker.path);
    await subscribe(slow, "held", "block");
    const sent = await floodUntilHeld(publisher, await publisher.openTopic("held"));
    const { connection } = slow;
    const event = await eventually(
      () => broker.findAll("disconnected").find((each) => each.connection === connection),
      "the subscriber was closed",
    );
    expect(event).toMatchObject({ code: "LIMIT_SLOW_READER", limit: STALL_LIMIT_MS });
    const { actual } = event;
    // By its own count: no earlier.
    expect(actual).toBeGreaterThanOrEqual(STALL_LIMIT_MS);
    const receipt = await publisher.sync();
    expect(receipt).toMatchObject({ published: sent });
    // It has not asked to be told that it was held back.
    expect(publisher.received()).toEqual([]);
    const frames = await slow.untilEnd();
    const came = frames.filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
    expect(receipt["lostLater"]).toBe(Number(receipt["delivered"]) - came);
    expect(receipt["lostLater"]).toBeGreaterThan(1_000);
    const last = frames.at(-1);
    expect(last?.opcode).toBe(OPCODE.ERROR);
    const status = STATUS.LIMIT_SLOW_READER;
    expect(last && mapOf(last)).toMatchObject({ status, limit: STALL_LIMIT_MS, actual });
  });
});

describe("block under a policy", () => {
  const POLICY = `
[[rule]]
allow = ["publish", "subscribe"]
topics = [">"]
any = true

[[topic]]
topics = [">"]
overflow = "drop-oldest"

[[topic]]
topics = ["jobs.>"]
overflow = "block"

[[topic]]
topics = ["jobs.urgent.*"]
overflow = "disconnect"
`;

  test("is granted where the setting of all the topics has it", async () => {
    await using own = await spawnBroker({ policy: POLICY });
    using client = await RawClient.open(own.path);
    await subscribe(client, "jobs.mail.*", "block");
    for (const pattern of ["other", "jobs.>", "jobs.*.now", ">"]) {
      const refused = await client.requestFrame(OPCODE.SUBSCRIBE, { pattern, overflow: "block" });
      expect(mapOf(refused)).toMatchObject({ status: STATUS.REJECTED_OVERFLOW, topic: pattern });
      expect(String(mapOf(refused)["rule"])).toMatch(/:\d+$/);
    }
    await subscribe(client, "other", "latest-per-topic");
  });
});
