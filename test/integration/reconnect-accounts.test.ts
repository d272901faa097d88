/** Nothing is lost silently, and no fd is left, however often the broker is killed. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { Bus } from "../../src/client/bus.ts";
import { eventually } from "../support/eventually.ts";
import { isAgain, lostOf, MortalBroker, record } from "../support/mortal-broker.ts";
import { TestFiles } from "../support/test-files.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

describe("every message", () => {
  /** A bus that says the numbers from 0 on, and is vouched for now and then. */
  async function publishUntil(stop: AbortSignal, topic: string): Promise<Talk> {
    const bus = await broker.open();
    const events = record(bus);
    const heard = await listenTo(bus, topic);
    let said = 0;
    let refusals = 0;
    while (!stop.aborted) {
      for (let count = 0; count < 50; count += 1) bus.publish(topic, said++);
      if (said % 200 === 0) await bus.flush().catch(() => (refusals += 1));
      else await new Promise((resolve) => setImmediate(resolve));
    }
    await bus.flush().catch(() => bus.flush());
    return { said, heard: heard.numbers, lost: lostOf(events), refusals };
  }

  interface Talk {
    readonly said: number;
    readonly heard: readonly number[];
    readonly lost: number;
    readonly refusals: number;
  }

  async function listenTo(bus: Bus, topic: string) {
    const numbers: number[] = [];
    const subscription = await bus.subscribe(topic, {
      onMessage: ({ data }) => void numbers.push(data as number),
    });
    return { numbers, subscription };
  }

  /** Places where a number does not follow on the one before. */
  function holesIn(numbers: readonly number[]): number {
    return numbers.filter((number, index) => number !== (numbers[index - 1] ?? -1) + 1).length;
  }

  test("comes once and in order, or is accounted for, over ten brokers that are killed", async () => {
    const listeners = await Promise.all(
      ["t.0", "t.1", "t.0"].map(async (topic) => ({
        topic,
        ...(await listenTo(await broker.open(), topic)),
      })),
    );
    const stop = new AbortController();
    const talking = Promise.all(["t.0", "t.1"].map((topic) => publishUntil(stop.signal, topic)));
    const allHear = async () => {
      const heard = listeners.map(({ numbers }) => numbers.length);
      const hearsMore = (numbers: readonly number[], index: number) =>
        numbers.length > (heard[index] ?? 0) + 500;
      await eventually(
        () => listeners.every(({ numbers }, index) => hearsMore(numbers, index)),
        "everybody hears something",
      );
    };
    for (let round = 0; round < 10; round += 1) {
      await allHear();
      await broker.restart();
    }
    await allHear();
    stop.abort();
    const talks = await talking;
    for (const { said, heard, lost } of talks) {
      // Who publishes hears itself: what is missing was lost with a connection, and counted there.
      expect(said - heard.length).toBeLessThanOrEqual(lost);
      expect(holesIn(heard)).toBeLessThanOrEqual(10);
      expect(heard.at(-1)).toBe(said - 1);
    }
    expect(talks.some(({ said, heard }) => said > heard.length)).toBe(true);
    for (const { topic, numbers, subscription } of listeners) {
      const said = talks[topic === "t.0" ? 0 : 1]?.said ?? 0;
      await eventually(() => numbers.at(-1) === said - 1, "the last message came");
      expect(numbers.every((number, index) => number > (numbers[index - 1] ?? -1))).toBe(true);
      expect(subscription.lost).toBe(0);
      expect(holesIn(numbers)).toBeLessThanOrEqual(subscription.disconnects);
    }
  });

  test("leaves no fd behind, over 50 connections that were lost", async () => {
    const bus = await broker.open();
    const own = await bus.subscribe("files");
    using files = new TestFiles(["file"]);
    const sayOne = async () => {
      bus.publish("files", 1, { fds: files.fds });
      const { value } = await own.next();
      value[Symbol.dispose]();
    };
    await sayOne();
    const count = () => readdirSync("/proc/self/fd").length;
    const before = count();
    for (let round = 0; round < 50; round += 1) {
      broker.process.kill("SIGSTOP");
      bus.publish("files", new Uint8Array(100_000), { fds: files.fds });
      await broker.restart();
      await isAgain(bus);
      const { disconnects } = own;
      expect(disconnects).toBe(round + 1);
      await sayOne();
    }
    // Fewer, where something was closed that earlier tests had left.
    await eventually(
      () => count() <= before,
      () => `${before} fds were open, ${count()} still are`,
    );
  }, 60_000);
});
