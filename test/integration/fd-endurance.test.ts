/**
 * A million fds of all kinds relayed to processes that are killed at random moments, with large bodies
 * and last values in between: none is left behind.
 */

import { expect, test } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { FD_KINDS } from "../../src/fd-kinds.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { BODY_PREFIX_BYTES, MESSAGE_BODY_BYTES_MAX } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { TemporaryDirectory } from "../support/cli-process.ts";
import { ODD_FILES } from "../support/odd-files.ts";
import { RandomNumbers } from "../support/random-numbers.ts";
import { mapOf, messagePacket, packetOf, RawClient } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";
import { countingBytes, largePacket, memoryOf } from "../support/test-memory.ts";

const FDS_RELAYED = 1_000_000;
const FDS_A_MESSAGE = 250;
const READERS = 3;
/** Messages between two deaths, on average. */
const DEATH_INTERVAL = 60;
/** Messages between two with files of all kinds, with a large body, and that are kept. */
const ODD_INTERVAL = 3;
const LARGE_INTERVAL = 10;
const KEPT_INTERVAL = 20;
/** Copies on their way before the publisher waits: no more than its quota. */
const FDS_WAITING_MAX = 4 * FDS_A_MESSAGE * READERS;
const TEST_TIMEOUT_MS = 180_000;

/** One connection has half of what its user may have. */
const POLICY = `
[limits]
fds = ${4 * FDS_WAITING_MAX}

[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[topic]]
topics = [">"]
fds = ${JSON.stringify(FD_KINDS)}
`;

type Reader = Bun.Subprocess<"ignore", "pipe", "inherit">;

/** A packet and the fds that go with it, which stay the test's. */
interface Cargo {
  readonly packet: Uint8Array;
  readonly fds: readonly number[];
}

async function startReader(path: string, number: number): Promise<Reader> {
  const way = number % 2 === 0 ? "lane" : "in-band";
  const fixture = new URL("./fd-reader-fixture.ts", import.meta.url).pathname;
  const reader = Bun.spawn([process.execPath, fixture, path, way], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const first = await reader.stdout.getReader().read();
  expect(new TextDecoder().decode(first.value)).toBe("ready");
  return reader;
}

/** What is sent, and where: memory for the most part, as it is the quickest. */
class Cargoes implements Disposable {
  readonly #directory = new TemporaryDirectory();
  readonly #memory = new TestFiles(["a"]);
  readonly #body = memoryOf(countingBytes(MESSAGE_BODY_BYTES_MAX + 1));
  readonly #odd: readonly number[];
  readonly #plain: Cargo;
  readonly #mixed: Cargo;
  readonly #large: Cargo;
  readonly #kept: Cargo;

  constructor(shared: number, kept: number) {
    const files = ODD_FILES.filter(({ kind }) => kind !== "other");
    this.#odd = files.map(({ open }) => open(this.#directory.path)).filter((fd) => fd >= 0);
    const [memory = -1] = this.#memory.fds;
    const many = new Array<number>(FDS_A_MESSAGE).fill(memory);
    const mixed = [...this.#odd, ...many].slice(0, FDS_A_MESSAGE);
    const withBody = [this.#body.number, ...this.#odd];
    const bytes = MESSAGE_BODY_BYTES_MAX + 1;
    this.#plain = { packet: messagePacket(shared, "x", many.length), fds: many };
    this.#mixed = { packet: messagePacket(shared, "x", mixed.length), fds: mixed };
    this.#large = { packet: largePacket(shared, bytes, withBody.length), fds: withBody };
    this.#kept = { packet: retainPacket(kept, this.#odd.length), fds: this.#odd };
  }

  /** The one whose turn it is. */
  at(count: number): Cargo {
    if (count % KEPT_INTERVAL === 0) return this.#kept;
    if (count % LARGE_INTERVAL === 0) return this.#large;
    return count % ODD_INTERVAL === 0 ? this.#mixed : this.#plain;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#odd) closeFd(fd);
    this.#body.close();
    this.#memory[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

function retainPacket(topic: number, fdCount: number): Uint8Array {
  const body = new Uint8Array(BODY_PREFIX_BYTES);
  return packetOf((writer) => writer.append(OPCODE.RETAIN, 0, fdCount, topic, 0, body));
}

test(
  "a million fds relayed, with subscribers killed in between, leave none behind",
  async () => {
    await using broker = await spawnBroker({ policy: POLICY });
    using publisher = await RawClient.open(broker.path);
    const shared = await publisher.openTopic("files.shared");
    const kept = await publisher.openTopic("files.kept");
    using cargoes = new Cargoes(shared, kept);
    const atRest = await broker.fdsAtRest();
    const readers: Reader[] = [];
    for (let index = 0; index < READERS; index += 1) {
      readers.push(await startReader(broker.path, index));
    }
    let relayed = 0;
    let deaths = 0;
    const random = new RandomNumbers(20_261_121);
    for (let count = 1; relayed < FDS_RELAYED; count += 1) {
      const { packet, fds } = cargoes.at(count);
      await publisher.sendEventually(packet, fds);
      let answer = await publisher.sync();
      relayed += Number(answer["delivered"]) * fds.length;
      while (Number(answer["fdsWaiting"]) > FDS_WAITING_MAX) {
        await nextTurn();
        answer = await publisher.sync();
      }
      if (random.below(DEATH_INTERVAL) !== 0) continue;
      // In the middle of what it was sent.
      publisher.send(packet, fds);
      const index = deaths % READERS;
      readers[index]?.kill("SIGKILL");
      deaths += 1;
      readers[index] = await startReader(broker.path, deaths);
    }
    for (const reader of readers) reader.kill("SIGKILL");
    expect(deaths).toBeGreaterThan(5);
    // At most for want of room, where few files may be open.
    const refusals = publisher.received().filter(({ opcode }) => opcode === OPCODE.ERROR);
    const others = refusals.filter((each) => mapOf(each)["status"] !== STATUS.LIMIT_QUEUED_FDS);
    expect(others.map(mapOf)).toEqual([]);
    expect(await publisher.request(OPCODE.CLEAR_RETAINED, { topic: "files.kept" })).toMatchObject({
      cleared: true,
    });
    await broker.expectFds(atRest);
    expect(await publisher.sync()).toMatchObject({ fdsWaiting: 0, fdsExpired: 0 });
  },
  TEST_TIMEOUT_MS,
);
