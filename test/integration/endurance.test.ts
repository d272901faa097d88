/**
 * Many messages, subscribers of every speed, and deaths at random moments: each subscriber that
 * lives has every message in order, or a gap that says exactly how many are missing.
 */

import { expect, test } from "bun:test";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RandomNumbers } from "../support/random-numbers.ts";
import { messagePacket, packetOf, RawClient } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";
import type { Books } from "./bookkeeper-fixture.ts";

const MESSAGES = 1_000_000;
const SUBSCRIBERS = 8;
const TOPIC_NAMES = ["t.a", "t.b", "t.c", "t.d"];
const BODY_BYTES = 64;
const TEST_TIMEOUT_MS = 180_000;

/** Packets between two deaths, on average. */
const DEATH_INTERVAL = 60;

/** Messages after which the publisher waits for the one that must not lose any. */
const WINDOW_MESSAGES = 20_000;

/** A subscriber in a process of its own. */
class Bookkeeper implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #lines: AsyncIterator<string>;

  /** @param eagerness of 100 turns, in how many it reads */
  constructor(path: string, way: "lane" | "in-band", eagerness: number, seed: number) {
    const fixture = new URL("./bookkeeper-fixture.ts", import.meta.url).pathname;
    const words = [process.execPath, fixture, path, way, String(eagerness), String(seed)];
    this.#child = Bun.spawn(words, { stdio: ["pipe", "pipe", "inherit"] });
    const input = Readable.fromWeb(this.#child.stdout as never);
    this.#lines = createInterface({ input })[Symbol.asyncIterator]();
  }

  async subscribed(): Promise<void> {
    expect(await this.#line()).toBe("ready");
  }

  /** Has it take all that is there. */
  async books(): Promise<Books> {
    this.#child.stdin.write("report\n");
    this.#child.stdin.flush();
    return JSON.parse(await this.#line()) as Books;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("A subscriber has ended; standard error says why");
    return value;
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

test(
  "survivors have every message in order or an exact gap, and no fd is left behind",
  async () => {
    const random = new RandomNumbers(20_261_121);
    // Some never read, and are to be there at the end, however long a busy machine takes.
    await using broker = await spawnBroker({ fdTtlMs: TEST_TIMEOUT_MS });
    await using keepers = new AsyncDisposableStack();
    using publisher = await RawClient.open(broker.path);
    const fdsAtRest = await broker.fdsAtRest();
    const topics: number[] = [];
    for (const name of TOPIC_NAMES) topics.push(await publisher.openTopic(name));
    const numbering = new Numbering();

    const join = async (eagerness: number): Promise<Bookkeeper> => {
      const way = random.below(2) === 0 ? "lane" : "in-band";
      const seed = random.below(1_000_000);
      const keeper = keepers.use(new Bookkeeper(broker.path, way, eagerness, seed));
      await keeper.subscribed();
      // One message on each topic, so that it knows where it stands.
      for (const topic of topics) {
        await publisher.sendEventually(messagePacket(topic, numbering.body(topic)));
      }
      await publisher.sync();
      await keeper.books();
      return keeper;
    };
    const never = await join(0);
    const always = await join(100);
    const mortals: Bookkeeper[] = [];
    while (mortals.length < SUBSCRIBERS - 2) mortals.push(await join(random.below(60)));

    using files = new TestFiles(["a", "b"]);
    let deaths = 0;
    let awaited = 0;
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
      if (numbering.sent - awaited > WINDOW_MESSAGES) {
        await publisher.sync();
        await always.books();
        awaited = numbering.sent;
      }
      if (random.below(DEATH_INTERVAL) === 0) {
        const index = random.below(mortals.length);
        // In the middle of what it was sent.
        await mortals[index]?.[Symbol.asyncDispose]();
        mortals[index] = await join(random.below(60));
        deaths += 1;
      }
    }

    const survivors = [never, always, ...mortals];
    await Promise.all(survivors.map((keeper) => keeper.books()));
    for (const topic of topics) publisher.send(messagePacket(topic, numbering.body(topic)));
    await publisher.sync();
    const [lazy, eager] = await Promise.all(survivors.map((keeper) => keeper.books()));
    expect(deaths).toBeGreaterThan(2);
    expect(lazy?.lost).toBeGreaterThan(0);
    // It was there from the start: what it got and what it was told it lost is all there was.
    expect((lazy?.received ?? 0) + (lazy?.lost ?? 0)).toBe(numbering.sent);
    expect(eager?.lost).toBe(0);
    await keepers.disposeAsync();
    await broker.expectFds(fdsAtRest);
  },
  TEST_TIMEOUT_MS,
);
