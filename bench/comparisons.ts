/**
 * The same work by way of the floors, seqbus and its peers. Everybody gets the same messages and the
 * same window. A work's baseline is the floor in TypeScript, which every machine can run.
 */

import { PEER_KINDS, type PeerKind } from "./peers/peer-kinds.ts";
import type { Placement } from "./placement.ts";
import type { IdleScenario, LatencyScenario, RateScenario, Scenario } from "./scenarios.ts";
import type { RestScenario } from "./strain-scenarios.ts";
import type { ClientKind, RelayKind } from "./work-order.ts";

/** Who does the work, and with which client. */
interface Contestant {
  readonly relay: RelayKind;
  readonly client: Exclude<ClientKind, "library-iterator">;
}

/** What all contestants of a work have in common. */
type RateShape = Pick<
  RateScenario,
  | "messageBytes"
  | "subscribers"
  | "publishers"
  | "packetBytes"
  | "topics"
  | "fds"
  | "readsAll"
  | "idleSubscriptions"
  | "warmUps"
>;

const KIB = 1024;
const MIB = 1024 * KIB;

/** Who can pass fds on. */
const FD_PEERS: readonly PeerKind[] = ["dbus-daemon", "dbus-broker"];

/** What a D-Bus broker can look through in a bearable time. */
const DBUS_SUBSCRIPTIONS = 10_000;
const SUBSCRIPTIONS = 100_000;

/** Where the processes of a round trip run. */
const PLACEMENTS: readonly Placement[] = ["unpinned", "one core", "relay apart"];

/** The kernel places processes anew in each, and what else the machine does hits some of them. */
const LATENCY_TURNS = 5;

/**
 * For work that is done packet by packet: of relays and clients that are compiled while they run, the
 * last compiler is at work until then, and takes the core from those who share it.
 */
const WARM_UPS_BY_PACKETS = 4;

/** Of a rate. In the first second the broker took 17 ns for a message in one run and 36 in another. */
const WARM_UPS_OF_RATES = 3;

/** Clients of a rate that are compiled in the time of one warm-up. Guess, for two cores. */
const CLIENTS_PER_WARM_UP = 8;

/** Before those that are counted: memory is taken in steps. */
const FEW_CONNECTIONS = 50;

const FLOORS: readonly Contestant[] = [
  { relay: "floor", client: "raw" },
  { relay: "floor-c", client: "raw" },
];
/** Where packets that are received and sent together, or wake a receiver once, change the limit. */
const STRETCHES: Contestant = { relay: "floor-c-stretches", client: "raw" };
const MEMORY_FLOORS: readonly Contestant[] = [
  { relay: "floor", client: "memory" },
  { relay: "floor-c", client: "memory" },
];
const RAW: Contestant = { relay: "broker", client: "raw" };
const LIBRARY: Contestant = { relay: "broker", client: "library" };
const MEMORY: Contestant = { relay: "broker", client: "memory" };
const RAW_OF_PEERS: readonly Contestant[] = PEER_KINDS.map((relay) => ({ relay, client: "raw" }));
const NPM_OF_PEERS: readonly Contestant[] = PEER_KINDS.map((relay) => ({ relay, client: "npm" }));
/** Who knows calls. */
const CALL_PEERS: readonly PeerKind[] = ["nats", ...FD_PEERS];
const NPM_CALLS_OF_PEERS: readonly Contestant[] = CALL_PEERS.map((relay) => ({
  relay,
  client: "npm-call",
}));
const FD_OF_PEERS: readonly Contestant[] = FD_PEERS.map((relay) => ({ relay, client: "raw" }));

const WIDE_ONES: readonly Contestant[] = [
  ...FLOORS,
  STRETCHES,
  RAW,
  LIBRARY,
  ...RAW_OF_PEERS,
  ...NPM_OF_PEERS,
];
const EVERYBODY = [...FLOORS, RAW, LIBRARY, ...RAW_OF_PEERS, ...NPM_OF_PEERS];
const WIDE_RAW_ONES = [...FLOORS, STRETCHES, RAW, ...RAW_OF_PEERS];
const RAW_ONES = [...FLOORS, RAW, ...RAW_OF_PEERS];
const FD_ONES = [...FLOORS, STRETCHES, RAW, ...FD_OF_PEERS];
const LARGE_ONES = [...MEMORY_FLOORS, MEMORY, LIBRARY, ...RAW_OF_PEERS, ...NPM_OF_PEERS];
/** The floors know no calls, but a round trip through them takes the same way. */
const CALL_ONES: readonly Contestant[] = [
  ...FLOORS,
  { relay: "broker", client: "raw-call" },
  { relay: "broker", client: "library-call" },
  ...NPM_CALLS_OF_PEERS,
];
const LARGE_TO_MANY = [...MEMORY_FLOORS, MEMORY, LIBRARY, ...RAW_OF_PEERS];

const SMALL: RateShape = {
  messageBytes: 64,
  subscribers: 1,
  packetBytes: 32 * KIB,
  topics: 1,
  fds: 0,
};

/** A message of 64 bytes, alone in its packet. */
const ALONE_SHAPE: RateShape = { ...SMALL, packetBytes: 80, warmUps: WARM_UPS_BY_PACKETS };
const FD_SHAPE: RateShape = { ...ALONE_SHAPE, fds: 1 };

/** A message that fills a chunk alone. */
const LARGE: RateShape = { ...SMALL, messageBytes: 256 * KIB, packetBytes: 64 * KIB };
const HUGE: RateShape = { ...LARGE, messageBytes: 4 * MIB };

/**
 * The library takes part where it says what a program gets: with fds to 1, by its lane. To 16 the lane
 * is the same, sixteen times. To 64 it would show the compilers of 64 processes, which are at work for
 * longer than a run takes (0.6 M deliveries a second in the first, where 16 have 11 M).
 */
const RATE_WORKS: readonly (readonly [string, RateShape, readonly Contestant[]])[] = [
  ["1 to 1, 64 B", SMALL, EVERYBODY],
  ["1 to 1, 64 B, 1 message a packet", ALONE_SHAPE, WIDE_RAW_ONES],
  ["1 to 1, 1 KiB", { ...SMALL, messageBytes: KIB }, EVERYBODY],
  ["1 to 1, 16 KiB", { ...SMALL, messageBytes: 16 * KIB, packetBytes: 64 * KIB }, EVERYBODY],
  ["1 to 1, 256 KiB, every byte read", { ...LARGE, readsAll: true }, LARGE_ONES],
  ["1 to 1, 256 KiB, front read", LARGE, LARGE_ONES],
  ["1 to 1, 4 MiB, every byte read", { ...HUGE, readsAll: true }, LARGE_ONES],
  ["1 to 1, 4 MiB, front read", HUGE, LARGE_ONES],
  ["1 to 16, 64 B", { ...SMALL, subscribers: 16 }, WIDE_ONES],
  ["1 to 64, 64 B", { ...SMALL, subscribers: 64 }, WIDE_RAW_ONES],
  ["1,000 topics, 64 B", { ...SMALL, topics: 1_000 }, EVERYBODY],
  ["16 to 1, 64 B", { ...SMALL, publishers: 16, topics: 16 }, EVERYBODY],
  ["fds to 1", FD_SHAPE, [...FD_ONES, LIBRARY]],
  ["fds to 16", { ...FD_SHAPE, subscribers: 16 }, FD_ONES],
  ["256 KiB to 16, every byte read", { ...LARGE, subscribers: 16, readsAll: true }, LARGE_TO_MANY],
  ["256 KiB to 16, front read", { ...LARGE, subscribers: 16 }, LARGE_TO_MANY],
  ["4 MiB to 16, every byte read", { ...HUGE, subscribers: 16, readsAll: true }, LARGE_TO_MANY],
  ["4 MiB to 16, front read", { ...HUGE, subscribers: 16 }, LARGE_TO_MANY],
];

/** How a contestant is called. */
export function contestantName({ relay, client }: Contestant): string {
  if (relay === "floor") return "floor in TypeScript";
  if (relay === "floor-c") return "floor in C";
  if (relay === "floor-c-stretches") return "floor in C, in stretches";
  const shown = client === "memory" ? "raw" : client.replace("-call", "");
  return `${relay === "broker" ? "seqbus" : relay}, ${shown}`;
}

/** What every scenario of a work has. The first contestant is the baseline. */
function nameIn(work: string, contestant: Contestant, [first = contestant]: readonly Contestant[]) {
  return {
    name: `${work}: ${contestantName(contestant)}`,
    work,
    baseline: `${work}: ${contestantName(first)}`,
    relay: contestant.relay,
  };
}

function rateScenarios(
  work: string,
  shape: RateShape,
  contestants: readonly Contestant[],
): RateScenario[] {
  return contestants.map((contestant) => ({
    kind: "rate",
    ...nameIn(work, contestant, contestants),
    publisher: contestant.client,
    subscriber: contestant.client,
    payload: "bytes",
    ...shape,
    warmUps: warmUpsOf(shape),
    ...(contestant.client === "library" && { packetBytes: 64 * KIB }),
  }));
}

/** Many clients share the cores that few have for themselves, and so do their compilers. */
function warmUpsOf({
  publishers = 1,
  subscribers,
  warmUps = WARM_UPS_OF_RATES,
}: RateShape): number {
  return Math.max(warmUps, Math.ceil((publishers + subscribers) / CLIENTS_PER_WARM_UP));
}

/** Each wherever the processes may be: what a user gets, and what no luck decides. */
function latencyScenarios(
  work: string,
  messageBytes: number,
  contestants: readonly Contestant[],
): LatencyScenario[] {
  return PLACEMENTS.flatMap((placement) =>
    contestants.map((contestant) => ({
      kind: "latency",
      ...nameIn(`${work}, ${placement}`, contestant, contestants),
      client: contestant.client,
      messageBytes,
      placement,
      turns: LATENCY_TURNS,
      warmUps: WARM_UPS_BY_PACKETS,
    })),
  );
}

function idleScenarios(
  work: string,
  connectionsBefore: number,
  connections: number,
): IdleScenario[] {
  return RAW_ONES.map((contestant) => ({
    kind: "idle",
    ...nameIn(work, contestant, RAW_ONES),
    messageBytes: 0,
    connectionsBefore,
    connections,
  }));
}

function restScenarios(work: string): RestScenario[] {
  return RAW_ONES.map((contestant) => ({
    kind: "rest",
    ...nameIn(work, contestant, RAW_ONES),
    messageBytes: 0,
  }));
}

/** An object of 40 bytes through the library's msgpack, beside bare bytes of the same length. */
function objectScenarios(work: string): RateScenario[] {
  const shape = { ...SMALL, messageBytes: 40 };
  return rateScenarios(work, shape, [...FLOORS, LIBRARY, ...NPM_OF_PEERS]).map((scenario) =>
    scenario.publisher === "library" ? { ...scenario, payload: "object" } : scenario,
  );
}

/** Each is compared to itself without the other subscriptions. */
function subscriptionScenarios(): RateScenario[] {
  return [RAW, ...RAW_OF_PEERS].map((contestant) => {
    const isDbus = FD_PEERS.some((peer) => peer === contestant.relay);
    const idleSubscriptions = isDbus ? DBUS_SUBSCRIPTIONS : SUBSCRIPTIONS;
    const work = "100,000 other subscriptions (D-Bus: 10,000), 64 B";
    const [scenario] = rateScenarios(work, { ...SMALL, idleSubscriptions }, [contestant]);
    if (scenario === undefined) throw new Error("A contestant has its scenario");
    return { ...scenario, baseline: `1 to 1, 64 B: ${contestantName(contestant)}` };
  });
}

/** All comparisons, those of one work side by side. */
export const COMPARISONS: readonly Scenario[] = [
  ...RATE_WORKS.flatMap((work) => rateScenarios(...work)),
  ...objectScenarios("1 to 1, small object, peers carry 40 B"),
  ...subscriptionScenarios(),
  ...latencyScenarios("ping-pong, 64 B", 64, EVERYBODY),
  ...latencyScenarios("call round trip, 64 B", 64, CALL_ONES),
  ...idleScenarios("1,000 idle connections", FEW_CONNECTIONS, 1_000),
  ...idleScenarios("3,000 idle connections after the first 1,000", 1_000, 3_000),
  ...restScenarios("at rest, nobody connected"),
];
