/**
 * The same work by way of the floors, seqbus and its peers. Everybody gets the same messages and the
 * same window. A work's baseline is the floor in TypeScript, which every machine can run.
 */

import { PEER_KINDS, type PeerKind } from "./peers/peer-kinds.ts";
import type { LatencyScenario, RateScenario, Scenario } from "./scenarios.ts";
import type { ClientKind, RelayKind } from "./work-order.ts";

/** Who does the work, and with which client. */
interface Contestant {
  readonly relay: RelayKind;
  readonly client: Exclude<ClientKind, "library-iterator">;
}

type RateWork = Pick<
  RateScenario,
  "messageBytes" | "subscribers" | "packetBytes" | "topics" | "fds"
>;

const KIB = 1024;

/** Who can pass fds on. */
const FD_PEERS: readonly PeerKind[] = ["dbus-daemon", "dbus-broker"];

/** Who has a protocol that a raw client speaks; ZeroMQ's is its library's own business. */
const RAW_PEERS = PEER_KINDS.filter((peer) => peer !== "zeromq");

const FLOORS: readonly Contestant[] = [
  { relay: "floor", client: "raw" },
  { relay: "floor-c", client: "raw" },
];

const OURS: readonly Contestant[] = [
  { relay: "broker", client: "raw" },
  { relay: "broker", client: "library" },
];

const RAW_OF_PEERS: readonly Contestant[] = RAW_PEERS.map((relay) => ({ relay, client: "raw" }));
const NPM_OF_PEERS: readonly Contestant[] = RAW_PEERS.map((relay) => ({ relay, client: "npm" }));

const EVERYBODY = [...FLOORS, ...OURS, ...RAW_OF_PEERS, ...NPM_OF_PEERS];
const RAW_ONES = EVERYBODY.filter(({ client }) => client === "raw");
const FD_ONES = RAW_ONES.filter(
  ({ relay }) =>
    !RAW_PEERS.some((peer) => peer === relay) || FD_PEERS.some((peer) => peer === relay),
);

const SMALL: RateWork = {
  messageBytes: 64,
  subscribers: 1,
  packetBytes: 32 * KIB,
  topics: 1,
  fds: 0,
};

/** A message of 64 bytes, alone in its packet. */
const FD_WORK: RateWork = { ...SMALL, packetBytes: 80, fds: 1 };

const RATE_WORKS: readonly (readonly [string, RateWork, readonly Contestant[]])[] = [
  ["1 to 1, 64 B", SMALL, EVERYBODY],
  ["1 to 1, 1 KiB", { ...SMALL, messageBytes: KIB }, EVERYBODY],
  ["1 to 1, 16 KiB", { ...SMALL, messageBytes: 16 * KIB, packetBytes: 64 * KIB }, EVERYBODY],
  ["1 to 16, 64 B", { ...SMALL, subscribers: 16 }, EVERYBODY],
  ["1 to 64, 64 B", { ...SMALL, subscribers: 64 }, RAW_ONES],
  ["1,000 topics, 64 B", { ...SMALL, topics: 1_000 }, EVERYBODY],
  ["fds to 1", FD_WORK, FD_ONES],
  ["fds to 16", { ...FD_WORK, subscribers: 16 }, FD_ONES],
];

/** How a contestant is called. */
export function contestantName({ relay, client }: Contestant): string {
  if (relay === "floor") return "floor in TypeScript";
  if (relay === "floor-c") return "floor in C";
  return `${relay === "broker" ? "seqbus" : relay}, ${client}`;
}

function rateScenarios(
  work: string,
  shape: RateWork,
  contestants: readonly Contestant[],
): RateScenario[] {
  return contestants.map(({ relay, client }) => ({
    kind: "rate",
    name: `${work}: ${contestantName({ relay, client })}`,
    work,
    baseline: `${work}: floor in TypeScript`,
    relay,
    publisher: client,
    subscriber: client,
    payload: "bytes",
    ...shape,
    ...(client === "library" && { packetBytes: 64 * KIB }),
  }));
}

function latencyScenarios(work: string, messageBytes: number): LatencyScenario[] {
  return EVERYBODY.map(({ relay, client }) => ({
    kind: "latency",
    name: `${work}: ${contestantName({ relay, client })}`,
    work,
    baseline: `${work}: floor in TypeScript`,
    relay,
    client,
    messageBytes,
  }));
}

/** All comparisons, those of one work side by side. */
export const COMPARISONS: readonly Scenario[] = [
  ...RATE_WORKS.flatMap((work) => rateScenarios(...work)),
  ...latencyScenarios("ping-pong, 64 B", 64),
];
