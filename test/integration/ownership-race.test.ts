/** Many processes that claim one service at the same moment, and owners that are killed. */

import { expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { connect, type ServiceState } from "../../src/client/index.ts";
import { eventually } from "../support/eventually.ts";
import { openPipe } from "../support/pipes.ts";
import { type ReportedEvent, spawnBroker } from "../support/spawned-broker.ts";

const CLAIMERS = 100;
/** Processes that are started at a time: each takes a while, and memory. */
const STARTED_AT_ONCE = 10;
const FIXTURE = new URL("./claim-fixture.ts", import.meta.url).pathname;
const CHOICES = ["queue", "fail", "replace", "queue"] as const;

type OwnerEvent = Extract<ReportedEvent, { type: "service-owner" }>;
type Claimer = Bun.Subprocess<number, "pipe", "inherit">;

async function startClaimer(path: string, stdin: number, number: number): Promise<Claimer> {
  const choice = CHOICES[number % CHOICES.length] as string;
  const words = [process.execPath, FIXTURE, path, choice];
  const claimer = Bun.spawn(words, { stdio: [stdin, "pipe", "inherit"] });
  const first = await claimer.stdout.getReader().read();
  expect(new TextDecoder().decode(first.value)).toBe("ready");
  return claimer;
}

/** Each generation loses exactly the owner of the one before, and has one at most. */
function expectSuccession(events: readonly OwnerEvent[]): void {
  let owner: number | undefined;
  for (const changes of Map.groupBy(events, ({ generation }) => generation).values()) {
    const lost = changes.filter(({ isOwner }) => !isOwner).map(({ connection }) => connection);
    const gained = changes.filter(({ isOwner }) => isOwner).map(({ connection }) => connection);
    expect(lost).toEqual(owner === undefined ? [] : [owner]);
    expect(gained.length).toBeLessThan(2);
    owner = gained[0];
  }
  expect(owner).toBeUndefined();
}

test(`of ${CLAIMERS} processes that claim at once one owns the service at any time, until all are killed`, async () => {
  await using broker = await spawnBroker();
  await using bus = await connect({ path: broker.path });
  const states: ServiceState[] = [];
  const watch = await bus.watch("own.race");
  const watching = (async () => {
    for await (const state of watch) states.push(state);
  })();
  const gate = openPipe();
  const claimers: Claimer[] = [];
  while (claimers.length < CLAIMERS) {
    const numbers = Array.from({ length: STARTED_AT_ONCE }, (_, index) => claimers.length + index);
    const started = numbers.map((number) => startClaimer(broker.path, gate.reader, number));
    claimers.push(...(await Promise.all(started)));
  }
  closeSync(gate.reader);
  // Nobody has the other end any more: the input of all ends at once.
  closeSync(gate.writer);

  const isRunning = ({ exitCode, signalCode }: Claimer) => (exitCode ?? signalCode) === null;
  while (claimers.some(isRunning)) {
    const { length } = states;
    const owner = states.at(-1)?.owners[0]?.pid;
    claimers.find(({ pid }) => pid === owner)?.kill("SIGKILL");
    const hasChanged = () => states.length > length || !claimers.some(isRunning);
    await eventually(hasChanged, "the next one owns it, or nobody does");
  }
  expect(states[0]).toMatchObject({ count: 0 });
  for (const [index, { generation, owners, count }] of states.entries()) {
    expect(generation).toBeGreaterThan(states[index - 1]?.generation ?? -1);
    expect(count).toBeLessThan(2);
    expect(owners).toHaveLength(count);
  }
  // Those that wait in line own it in the end; those that do not were refused, or replaced.
  const killed = claimers.filter(({ signalCode }) => signalCode === "SIGKILL");
  expect(killed.length).toBeGreaterThan(CLAIMERS / 4);
  const others = claimers.filter((claimer) => !killed.includes(claimer));
  expect(others.map(({ exitCode }) => exitCode)).toEqual(others.map(() => 0));
  await eventually(() => states.at(-1)?.count === 0, "nobody owns it any more");
  const last = states.at(-1)?.generation;
  const told = await eventually(() => {
    const events = broker.findAll("service-owner");
    return events.at(-1)?.generation === last && events;
  }, "the broker reported the last change");
  expectSuccession(told);
  await watch.close();
  await watching;
});
