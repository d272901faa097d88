/**
 * Many messages to subscribers of the library with each overflow policy, which are stopped and killed at
 * random moments: each that lives has every message in order, or was told exactly how many are missing,
 * and where.
 */

import { expect, test } from "bun:test";
import { type Bus, connect } from "../../src/client/index.ts";
import type { OverflowPolicy } from "../../src/protocol/words.ts";
import { type Books, Numbering } from "../support/message-books.ts";
import { RandomNumbers } from "../support/random-numbers.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";

const SEED = 20_261_121;
const MESSAGES = 200_000;
const BATCH_MESSAGES = 1_000;
/** With its header a frame has 256: a queue holds a twelfth of all messages. */
const BODY_BYTES = 240;
const TOPICS = ["t.a", "t.b", "t.c", "t.d"];
const POLICIES: readonly OverflowPolicy[] = ["drop-newest", "drop-oldest", "latest-per-topic"];

/** Batches between two deaths, and between a subscriber's stop and its end, on average. */
const DEATH_INTERVAL = 25;
const STOP_INTERVAL = 36;

/** A subscriber in a process of its own. */
interface Keeper {
  readonly overflow: OverflowPolicy;
  readonly client: SpawnedClient;
  /** Messages that were published before it came. */
  readonly missed: number;
  isStopped: boolean;
}

/** Publishes, and lets subscribers come and go. */
class Crowd implements AsyncDisposable {
  readonly #path: string;
  readonly #publisher: Bus;
  readonly #random: RandomNumbers;
  readonly #numbering = new Numbering();
  readonly #keepers = new Set<Keeper>();

  constructor(path: string, publisher: Bus, random: RandomNumbers) {
    this.#path = path;
    this.#publisher = publisher;
    this.#random = random;
  }

  get sent(): number {
    return this.#numbering.sent;
  }

  async join(overflow: OverflowPolicy): Promise<Keeper> {
    const client = await connectAs(process.getuid?.() ?? 0, this.#path, { reconnect: false });
    await client.call("keepBooks", "t.*", overflow);
    const keeper = { overflow, client, missed: this.sent, isStopped: false };
    this.#keepers.add(keeper);
    await this.publishOnEach();
    // It knows then where it stands.
    expect((await client.call("books")).received).toBe(TOPICS.length);
    return keeper;
  }

  /** One message on each topic. */
  async publishOnEach(): Promise<void> {
    for (const topic of TOPICS) this.#publish(topic);
    await this.#publisher.flush();
  }

  async publishBatch(): Promise<void> {
    for (let count = 0; count < BATCH_MESSAGES; count += 1) {
      this.#publish(TOPICS[this.#random.below(TOPICS.length)] ?? "");
    }
    await this.#publisher.flush();
  }

  signal(keeper: Keeper, signal: "SIGSTOP" | "SIGCONT"): void {
    keeper.client.kill(signal);
    keeper.isStopped = signal === "SIGSTOP";
  }

  async kill(keeper: Keeper): Promise<void> {
    this.#keepers.delete(keeper);
    await keeper.client[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#keepers, (keeper) => this.kill(keeper)));
  }

  #publish(topic: string): void {
    this.#publisher.publish(topic, this.#numbering.body(topic, BODY_BYTES));
  }
}

/** It was told of every message since it came: what it got, and what it lost. */
function expectExact({ missed }: Keeper, books: Books, sent: number): void {
  const { received, lost, flaw } = books;
  expect({ flaw, sum: received + lost }).toEqual({ flaw: undefined, sum: sent - missed });
}

test(`with each overflow policy survivors have every message, or an exact gap in its place (seed ${SEED})`, async () => {
  const random = new RandomNumbers(SEED);
  await using broker = await spawnBroker();
  await using publisher = await connect({ path: broker.path });
  const fdsAlone = await broker.fdsAtRest();
  await using crowd = new Crowd(broker.path, publisher, random);
  const join = (overflow: OverflowPolicy) => crowd.join(overflow);
  const sleepers: Keeper[] = [];
  const mortals: Keeper[] = [];
  for (const overflow of POLICIES) {
    sleepers.push(await join(overflow));
    mortals.push(await join(overflow), await join(overflow));
  }
  let deaths = 0;
  while (crowd.sent < MESSAGES) {
    await crowd.publishBatch();
    const isNight = crowd.sent > MESSAGES / 4 && crowd.sent < (MESSAGES / 4) * 3;
    for (const sleeper of sleepers) {
      if (sleeper.isStopped !== isNight) crowd.signal(sleeper, isNight ? "SIGSTOP" : "SIGCONT");
    }
    const index = random.below(mortals.length);
    const mortal = mortals[index] as Keeper;
    if (random.below(DEATH_INTERVAL) === 0) {
      await crowd.kill(mortal);
      mortals[index] = await join(mortal.overflow);
      deaths += 1;
    } else if (random.below(STOP_INTERVAL / mortals.length) === 0) {
      crowd.signal(mortal, mortal.isStopped ? "SIGCONT" : "SIGSTOP");
    }
  }
  const keepers = [...sleepers, ...mortals];
  for (const keeper of keepers) if (keeper.isStopped) crowd.signal(keeper, "SIGCONT");
  // All that waits is read; then the last gaps have a message behind them.
  await Promise.all(keepers.map(({ client }) => client.call("books")));
  await crowd.publishOnEach();
  const books = await Promise.all(keepers.map(({ client }) => client.call("books")));
  for (const [index, keeper] of keepers.entries()) {
    expectExact(keeper, books[index] as Books, crowd.sent);
  }
  for (const index of sleepers.keys()) expect(books[index]?.lost).toBeGreaterThan(0);
  expect(deaths).toBeGreaterThan(2);
  for (const keeper of keepers) await crowd.kill(keeper);
  await broker.expectFds(fdsAlone);
});
