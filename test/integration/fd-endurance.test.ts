/** A million fds relayed to processes that are killed at random moments: none is left behind. */

import { expect, test } from "bun:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { RandomNumbers } from "../support/random-numbers.ts";
import { messagePacket, RawClient } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

const FDS_RELAYED = 1_000_000;
const FDS_A_MESSAGE = 250;
const READERS = 3;
/** Messages between two deaths, on average. */
const DEATH_INTERVAL = 60;
/** Copies on their way before the publisher waits: no more than its quota. */
const FDS_WAITING_MAX = 4 * FDS_A_MESSAGE * READERS;
const TEST_TIMEOUT_MS = 180_000;

type Reader = Bun.Subprocess<"ignore", "pipe", "inherit">;

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

test(
  "a million fds relayed, with subscribers killed in between, leave none behind",
  async () => {
    await using broker = await spawnBroker();
    using publisher = await RawClient.open(broker.path);
    using files = new TestFiles(["a"]);
    const topic = await publisher.openTopic("files.shared");
    const atRest = await broker.fdsAtRest();
    const fds = new Array<number>(FDS_A_MESSAGE).fill(files.fds[0] as number);
    const packet = messagePacket(topic, "x", fds.length);
    const readers: Reader[] = [];
    for (let index = 0; index < READERS; index += 1) {
      readers.push(await startReader(broker.path, index));
    }
    let relayed = 0;
    let deaths = 0;
    const random = new RandomNumbers(20_261_121);
    while (relayed < FDS_RELAYED) {
      await publisher.sendEventually(packet, fds);
      let answer = await publisher.sync();
      relayed += Number(answer["delivered"]) * FDS_A_MESSAGE;
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
    await broker.expectFds(atRest);
    expect(await publisher.sync()).toMatchObject({ fdsWaiting: 0, fdsExpired: 0 });
  },
  TEST_TIMEOUT_MS,
);
