/** Queue groups between real processes: each message to exactly one member, whoever reads how fast. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { mapOf, messagePacket, RawClient, textOf } from "../support/raw-client.ts";
import { retainPacket } from "../support/retain-packet.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";
import { TestFiles } from "../support/test-files.ts";

const UID = process.getuid?.() ?? 0;

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

async function worker(group: string): Promise<SpawnedClient> {
  const client = await connectAs(UID, broker.path);
  await client.call("subscribe", "jobs.*", { group });
  await client.call("collect");
  return client;
}

/** Publishes numbers from `first` on. */
async function publish(first: number, count: number): Promise<void> {
  await using bus = await connect({ path: broker.path });
  for (let number = first; number < first + count; number += 1) {
    bus.publish(`jobs.${number % 3}`, number);
    if (number % 2_000 === 0) await bus.flush();
  }
  expect(await bus.flush()).toMatchObject({ dropped: 0, denied: 0 });
}

async function collectedBy(workers: readonly SpawnedClient[]): Promise<number[][]> {
  return await Promise.all(workers.map((each) => each.call("collected")));
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

describe("a queue group", () => {
  test("of four gets every message exactly once, in order for each, and all have work", async () => {
    const workers = await Promise.all(["all", "all", "all", "all"].map(worker));
    await using _ = disposeAll(workers);
    const count = 40_000;
    await publish(0, count);
    let parts: number[][] = [];
    await eventually(async () => {
      parts = await collectedBy(workers);
      return parts.flat().length >= count;
    }, "all messages came");
    expect(parts.flat().sort((a, b) => a - b)).toEqual(range(count));
    for (const part of parts) {
      expect(part).toEqual(part.toSorted((a, b) => a - b));
      expect(part.length).toBeGreaterThan(count / 20);
    }
  });

  test("loses nothing but what a killed member had, and nothing twice", async () => {
    const workers = await Promise.all(["some", "some", "some", "some"].map(worker));
    await using _ = disposeAll(workers);
    const [victim, ...others] = workers as [SpawnedClient, ...SpawnedClient[]];
    const count = 20_000;
    await publish(0, count / 2);
    await eventually(
      async () => (await collectedBy(workers)).flat().length === count / 2,
      "the first half came",
    );
    const done = await victim.call("collected");
    victim.kill("SIGSTOP");
    await publish(count / 2, count / 4);
    victim.kill("SIGKILL");
    await eventually(
      () => broker.findAll("disconnected").some(({ identity }) => identity.pid === victim.pid),
      "the member is gone",
    );
    await publish(count / 2 + count / 4, count / 4);
    await eventually(async () => {
      const seen = new Set((await collectedBy(others)).flat());
      return range(count / 4).every((index) => seen.has(index + (count / 4) * 3));
    }, "the last quarter came to those who are left");
    const seen = [...(await collectedBy(others)).flat(), ...done];
    expect(new Set(seen).size).toBe(seen.length);
    // What a stopped member is given, it is given before it stands still for all to see.
    expect(count - seen.length).toBeLessThan(count / 8);
  });

  test("gives a member that does not read little, and the others the rest", async () => {
    using stopped = await RawClient.open(broker.path);
    using quick = await RawClient.open(broker.path);
    using publisher = await RawClient.open(broker.path);
    for (const each of [stopped, quick]) {
      await each.request(OPCODE.SUBSCRIBE, { pattern: "work", group: "two" });
    }
    const topic = await publisher.openTopic("work");
    const count = 2_000;
    let came = 0;
    for (let number = 0; number < count; number += 1) {
      await publisher.sendEventually(messagePacket(topic, `${number}`));
      if (number % 50 !== 0) continue;
      await publisher.sync();
      came += quick.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
    }
    await publisher.sync();
    came += quick.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
    const left = stopped.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE).length;
    expect(came + left).toBe(count);
    expect(left).toBeLessThan(count / 10);
  });

  test("takes its messages under a topic id of its own, beside a plain subscription", async () => {
    using both = await RawClient.open(broker.path);
    using publisher = await RawClient.open(broker.path);
    await both.subscribe("own");
    await both.request(OPCODE.SUBSCRIBE, { pattern: "own", group: "g" });
    const topic = await publisher.openTopic("own");
    publisher.sendMessage(topic, "once");
    const topics = [await both.nextOf(OPCODE.TOPIC), await both.nextOf(OPCODE.TOPIC)];
    expect(topics.map(mapOf)).toEqual([{ topic: "own" }, { topic: "own", group: "g" }]);
    const messages = [await both.nextOf(OPCODE.MESSAGE), await both.nextOf(OPCODE.MESSAGE)];
    expect(messages.map(({ id }) => id)).toEqual(topics.map(({ id }) => id));
    expect(messages.map(textOf)).toEqual(["once", "once"]);
  });

  test("gets no last value, however it got there, but what comes after it", async () => {
    using publisher = await RawClient.open(broker.path);
    using member = await RawClient.open(broker.path);
    using plain = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("kept.one");
    publisher.send(retainPacket(topic, "kept"));
    expect(await publisher.sync()).toMatchObject({ published: 1, matched: 0 });
    await member.request(OPCODE.SUBSCRIBE, { pattern: "kept.*", group: "g" });
    await plain.subscribe("kept.*");
    // What is given to one that subscribes is given before the answer to this.
    await member.sync();
    await plain.sync();
    expect(member.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE)).toEqual([]);
    expect(await plain.nextTexts(1)).toEqual(["kept"]);
    publisher.sendMessage(topic, "live");
    expect(await member.nextTexts(1)).toEqual(["live"]);
    expect(await plain.nextTexts(1)).toEqual(["live"]);
  });

  test("passes files to one member", async () => {
    using files = new TestFiles(["text"]);
    using publisher = await RawClient.open(broker.path);
    using one = await RawClient.open(broker.path);
    using other = await RawClient.open(broker.path);
    for (const each of [one, other]) {
      await each.request(OPCODE.SUBSCRIBE, { pattern: "files", group: "f" });
    }
    const topic = await publisher.openTopic("files");
    for (let number = 0; number < 4; number += 1) publisher.sendMessage(topic, "f", files.fds);
    expect(await publisher.sync()).toMatchObject({ published: 4, matched: 4, dropped: 0 });
    const frames = [...one.received(), ...other.received()];
    const messages = frames.filter(({ opcode }) => opcode === OPCODE.MESSAGE);
    expect(messages.map(({ fds }) => fds.length)).toEqual([1, 1, 1, 1]);
    for (const { fds } of messages) for (const fd of fds) closeFd(fd);
  });

  test("is left by UNSUBSCRIBE, and refused where its name is wrong", async () => {
    using member = await RawClient.open(broker.path);
    using publisher = await RawClient.open(broker.path);
    const body = { pattern: "left", group: "g" };
    const { subscription } = await member.request(OPCODE.SUBSCRIBE, body);
    const topic = await publisher.openTopic("left");
    publisher.sendMessage(topic, "a");
    expect(await publisher.sync()).toMatchObject({ matched: 1 });
    await member.request(OPCODE.UNSUBSCRIBE, { subscription: Number(subscription) });
    publisher.sendMessage(topic, "b");
    expect(await publisher.sync()).toMatchObject({ matched: 0 });
    const refused = await member.requestFrame(OPCODE.SUBSCRIBE, { pattern: "a", group: "a b" });
    expect(mapOf(refused)).toMatchObject({ status: 46 });
  });
});

function disposeAll(clients: readonly SpawnedClient[]): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
    },
  };
}
