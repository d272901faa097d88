/**
 * Many messages, subscribers of every speed, and deaths at random moments: each subscriber that
 * lives has every message in order, or a gap that says exactly how many are missing.
 */

import { expect, test } from "bun:test";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RandomNumbers } from "../support/random-numbers.ts";
import { mapOf, messagePacket, packetOf, RawClient, type RawFrame } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

const MESSAGES = 1_000_000;
const SUBSCRIBERS = 8;
const TOPIC_NAMES = ["t.a", "t.b", "t.c", "t.d"];
const BODY_BYTES = 64;

/** Packets between two deaths, on average. */
const DEATH_INTERVAL = 60;

/** One subscriber, and what it may expect next. */
class Bookkeeper implements Disposable {
  readonly client: RawClient;
  /** Of 100 rounds, in how many it reads. */
  readonly eagerness: number;
  received = 0;
  lost = 0;
  /** Number of the next message on each topic; unknown before the first one. */
  readonly #next = new Map<number, number>();
  #lastOverall = -1;

  constructor(client: RawClient, eagerness: number) {
    this.client = client;
    this.eagerness = eagerness;
  }

  /** Takes what is there and checks it. */
  read(): void {
    for (const frame of this.client.received()) {
      if (frame.opcode === OPCODE.GAP) this.#noteGap(frame);
      if (frame.opcode === OPCODE.MESSAGE) this.#noteMessage(frame);
    }
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }

  #noteGap(gap: RawFrame): void {
    const count = Number(mapOf(gap)["count"]);
    const next = this.#next.get(gap.id);
    if (next === undefined) throw new Error("A gap came before the first message of its topic");
    this.#next.set(gap.id, next + count);
    this.lost += count;
  }

  #noteMessage(frame: RawFrame): void {
    const view = new DataView(frame.body.buffer);
    const overall = view.getUint32(0, true);
    const number = view.getUint32(4, true);
    const wanted = this.#next.get(frame.id) ?? number;
    if (number !== wanted) throw new Error(`Topic ${frame.id}: got ${number}, wanted ${wanted}`);
    if (overall <= this.#lastOverall) throw new Error(`${overall} after ${this.#lastOverall}`);
    this.#next.set(frame.id, number + 1);
    this.#lastOverall = overall;
    this.received += 1;
    for (const fd of frame.fds) closeFd(fd);
  }
}

/** Makes packets with running numbers: one over all, and one for each topic. */
class Numbering {
  sent = 0;
  readonly #byTopic = new Map<number, number>();

  body(topic: number): Uint8Array {
    const body = new Uint8Array(BODY_BYTES);
    const view = new DataView(body.buffer);
    const number = this.#byTopic.get(topic) ?? 0;
    view.setUint32(0, this.sent, true);
    view.setUint32(4, number, true);
    this.#byTopic.set(topic, number + 1);
    this.sent += 1;
    return body;
  }
}

test("survivors have every message in order or an exact gap, and no fd is left behind", async () => {
  const seed = 20_261_121;
  const random = new RandomNumbers(seed);
  await using broker = await spawnBroker();
  using publisher = await RawClient.open(broker.path);
  const fdsAtRest = broker.countFds();
  const topics: number[] = [];
  for (const name of TOPIC_NAMES) topics.push(await publisher.openTopic(name));
  const numbering = new Numbering();

  const join = async (eagerness: number): Promise<Bookkeeper> => {
    const client = await RawClient.open(broker.path, { lane: random.below(2) === 0 });
    await client.subscribe("t.*");
    const keeper = new Bookkeeper(client, eagerness);
    // One message on each topic, so that it knows where it stands.
    for (const topic of topics) {
      await publisher.sendEventually(messagePacket(topic, numbering.body(topic)));
    }
    await publisher.sync();
    keeper.read();
    return keeper;
  };
  const keepers: Bookkeeper[] = [];
  for (let index = 0; index < SUBSCRIBERS; index += 1) {
    keepers.push(await join(index === 0 ? 0 : index === 1 ? 100 : random.below(60)));
  }

  using files = new TestFiles(["a", "b"]);
  let deaths = 0;
  while (numbering.sent < MESSAGES) {
    const topic = topics[random.below(topics.length)] ?? 0;
    if (random.below(20) === 0) {
      const packet = messagePacket(topic, numbering.body(topic), files.fds.length);
      await publisher.sendEventually(packet, files.fds);
    } else {
      const count = 1 + random.below(800);
      const packet = packetOf((writer) => {
        for (let index = 0; index < count; index += 1) {
          const each = topics[random.below(topics.length)] ?? 0;
          writer.append(OPCODE.MESSAGE, 0, 0, each, 0, numbering.body(each));
        }
      });
      await publisher.sendEventually(packet);
    }
    for (const keeper of keepers) if (random.below(100) < keeper.eagerness) keeper.read();
    if (random.below(DEATH_INTERVAL) === 0) {
      // The first two live to the end: the one that never reads, and the one that always does.
      const index = 2 + random.below(SUBSCRIBERS - 2);
      keepers[index]?.[Symbol.dispose]();
      keepers[index] = await join(random.below(60));
      deaths += 1;
    }
  }

  for (const keeper of keepers) {
    await keeper.client.sync();
    keeper.read();
  }
  for (const topic of topics) publisher.send(messagePacket(topic, numbering.body(topic)));
  await publisher.sync();
  for (const keeper of keepers) {
    await keeper.client.sync();
    keeper.read();
  }
  const [never, always] = keepers;
  expect(deaths).toBeGreaterThan(2);
  expect(never?.lost).toBeGreaterThan(0);
  expect(always?.lost).toBe(0);
  // Others publish before a subscriber joins; the first one was there from the start.
  expect((never?.received ?? 0) + (never?.lost ?? 0)).toBe(numbering.sent);
  for (const keeper of keepers) keeper[Symbol.dispose]();
  await broker.expectFds(fdsAtRest);
}, 180_000);
