/**
 * Subscriptions that hold publishers back, on a bus that awaits answers meanwhile: what waits in the
 * program stays bounded, nothing is lost that must not be, and the answers come.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { SEND_QUEUE_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import type { Bus } from "../../src/client/bus.ts";
import { connect } from "../../src/client/connect.ts";
import { BEYOND_FULL_BYTES } from "../../src/client/limits.ts";
import { eventually } from "../support/eventually.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

const BODY_BYTES = 1_000;
const FRAME_BYTES = BODY_BYTES + 16;
const LIMIT = 100;

/** More than fits the sockets, the broker's queue and what a full subscription still takes. */
const FLOOD = Math.ceil((2 * BEYOND_FULL_BYTES + 2 * SEND_QUEUE_BYTES_MAX) / FRAME_BYTES);

/** What may wait beside the limit: the broker's queue, and half as much that was on its way. */
const QUEUED_MAX = LIMIT + (1.5 * SEND_QUEUE_BYTES_MAX) / FRAME_BYTES;

let broker: SpawnedBroker;
let bus: Bus;
let publisher: Bus;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

beforeEach(async () => {
  bus = await connect({ path: broker.path });
  publisher = await connect({ path: broker.path });
});

afterEach(async () => {
  await bus.close();
  await publisher.close();
});

function numberOf({ bytes }: { readonly bytes: Uint8Array }): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/**
 * Publishes messages with numbers from 0 on.
 * @param ahead how many of them the broker may not have routed yet
 * @returns once it has routed all of them
 */
async function flood(topic: string, ahead = Number.POSITIVE_INFINITY): Promise<void> {
  const body = new Uint8Array(BODY_BYTES);
  const view = new DataView(body.buffer);
  for (let number = 0; number < FLOOD; number += 1) {
    view.setUint32(0, number);
    const isFarAhead = number % ahead === ahead - 1;
    if (!publisher.publish(topic, body) || isFarAhead) await publisher.flush({ timeoutMs: 60_000 });
  }
  await publisher.flush({ timeoutMs: 60_000 });
}

/** Resolves when the broker has told the publisher that it waits. */
async function untilHeld(): Promise<void> {
  for await (const { type } of publisher.status()) if (type === "held") return;
}

describe("a subscription with block", () => {
  test("holds publishers back while the bus waits for a service that never comes", async () => {
    const stop = new AbortController();
    const waiting = bus.waitFor("never", { timeoutMs: 600_000, signal: stop.signal });
    waiting.catch(() => {});
    const messages = await bus.subscribe("flood", { overflow: "block", queueMessagesMax: LIMIT });
    const held = untilHeld();
    const flooding = flood("flood");
    await held;
    expect(messages.queued).toBeGreaterThanOrEqual(LIMIT);
    let mostQueued = 0;
    for (let number = 0; number < FLOOD; number += 1) {
      mostQueued = Math.max(mostQueued, messages.queued);
      const { value } = await messages.next();
      expect(numberOf(value)).toBe(number);
    }
    await flooding;
    expect(messages.lost).toBe(0);
    expect(mostQueued).toBeLessThan(QUEUED_MAX);
    stop.abort();
  });

  test("gets an answer for each message that it calls for, and holds publishers back", async () => {
    await using server = await connect({ path: broker.path });
    await server.serve("next", ({ data }) => Number(data) + 1);
    const messages = await bus.subscribe("calls", { overflow: "block", queueMessagesMax: LIMIT });
    const flooding = flood("calls");
    let mostQueued = 0;
    for (let number = 0; number < 20 * LIMIT; number += 1) {
      const { value } = await messages.next();
      expect(numberOf(value)).toBe(number);
      expect((await bus.call("next", number)).data).toBe(number + 1);
      mostQueued = Math.max(mostQueued, messages.queued);
    }
    expect(messages.lost).toBe(0);
    expect(mostQueued).toBeGreaterThanOrEqual(LIMIT);
    expect(mostQueued).toBeLessThan(QUEUED_MAX);
    await messages.close();
    await flooding;
  });
});

describe("a member of a queue group that flushes for each job", () => {
  test("leaves the jobs to a member that is free while it works", async () => {
    await using other = await connect({ path: broker.path });
    const jobs = await bus.subscribe("jobs", { group: "workers", queueMessagesMax: LIMIT });
    let done = 0;
    const onMessage = () => {
      done += 1;
    };
    await other.subscribe("jobs", { group: "workers", onMessage });
    const flooding = flood("jobs", LIMIT);
    expect((await jobs.next()).done).toBe(false);
    const isDone = () => done > FLOOD - QUEUED_MAX;
    while (!isDone()) await bus.flush();
    await flooding;
    expect(jobs.queued).toBeLessThan(QUEUED_MAX);
    await eventually(() => done + jobs.queued + 1 === FLOOD, "all jobs are with one of them");
  });

  test("loses what comes far beyond its limit where nobody else is free, and is told", async () => {
    const jobs = await bus.subscribe("alone", { group: "workers", queueMessagesMax: LIMIT });
    const flooding = flood("alone");
    let isFlooded = false;
    void flooding.then(() => {
      isFlooded = true;
    });
    while (!isFlooded) await bus.flush();
    await bus.flush();
    const boundBytes = BEYOND_FULL_BYTES + (LIMIT + 1) * FRAME_BYTES;
    expect(jobs.queued * FRAME_BYTES).toBeLessThanOrEqual(boundBytes);
    await eventually(() => jobs.queued + jobs.lost === FLOOD, "all is there, or told as lost");
    for (let number = 0; number <= LIMIT; number += 1) {
      expect(numberOf((await jobs.next()).value)).toBe(number);
    }
  });
});
