/**
 * What is measured: each scenario with the one that it is compared to. A figure without its
 * comparison says nothing on a machine that others use too.
 */

import { FRAME_HEADER_BYTES, PACKET_BYTES_MAX } from "../src/protocol/limits.ts";
import type { Placement } from "./placement.ts";
import { type PolicyOrder, RULE_SHAPES } from "./policy-rules.ts";
import type { RestScenario, SiegeScenario, StallScenario } from "./strain-scenarios.ts";
import type { ClientKind, PayloadKind, RelayKind } from "./work-order.ts";

/** Bytes that may be under way: fits the relay's socket buffer, so that nothing ever waits. */
const WINDOW_BYTES = 1024 * 1024;

/** The same for bodies that are larger than a packet. */
const LARGE_WINDOW_BYTES = 16 * 1024 * 1024;

/** Fewer would make a publisher wait for each of the largest. */
const WINDOW_MESSAGES_MIN = 4;

/** Half of what one connection may have on its way where `ulimit -Hn` is 20,000. */
const WINDOW_FD_COPIES = 1_024;

/** Messages with fds under way: every one of them is an open file of the relay's. */
const WINDOW_FD_MESSAGES = 256;

/** What all scenarios have. */
export interface ScenarioBase {
  readonly name: string;
  /** What is done, in scenarios that do the same by way of different relays and clients. */
  readonly work?: string;
  readonly relay: RelayKind;
  readonly messageBytes: number;
  /** Name of the scenario whose figure is 1. */
  readonly baseline: string;
  /** Left out: the broker serves its own uid alone. */
  readonly policy?: PolicyOrder;
  /** How many times as long as others it warms up. Left out: once. */
  readonly warmUps?: number;
}

/** Messages from one publisher to one or more subscribers. */
export interface RateScenario extends ScenarioBase {
  readonly kind: "rate";
  readonly publisher: Exclude<ClientKind, "library-iterator">;
  /** Left out: one. */
  readonly publishers?: number;
  readonly subscriber: ClientKind;
  readonly subscribers: number;
  readonly packetBytes: number;
  readonly topics: number;
  readonly payload: PayloadKind;
  /** Open files that come with each message. */
  readonly fds: number;
  /** Subscribers read every byte. Left out: the front alone. */
  readonly readsAll?: boolean;
  /** Subscriptions to other topics, on a connection of their own. */
  readonly idleSubscriptions?: number;
}

/** One message there and back, one at a time. */
export interface LatencyScenario extends ScenarioBase {
  readonly kind: "latency";
  /** "-call": a call and its answer; the others publish both ways. */
  readonly client: Exclude<ClientKind, "library-iterator">;
  /** Left out: "unpinned". */
  readonly placement?: Placement;
  /** Processes that ping one after the other, each with an echo of its own. Left out: one. */
  readonly turns?: number;
}

/** Connections that do nothing. */
export interface IdleScenario extends ScenarioBase {
  readonly kind: "idle";
  readonly connections: number;
  /** Connections that come before those that are counted. */
  readonly connectionsBefore: number;
}

/** Topics opened one after the other, each with a look into the policy. */
export interface OpeningScenario extends ScenarioBase {
  readonly kind: "opening";
  readonly policy: PolicyOrder;
}

/** Messages from one publisher to one subscriber, under two policies in turns. */
export interface SwapScenario extends ScenarioBase {
  readonly kind: "swap";
  readonly policy: PolicyOrder;
  /** What `policy` takes turns with, and is compared to. */
  readonly comparedTo: PolicyOrder;
  /** Stretches in all. */
  readonly swaps: number;
  /** Milliseconds of each. */
  readonly stretchMs: number;
  readonly packetBytes: number;
}

/** Messages from one publisher to one subscriber while the policy is loaded anew. */
export interface ReloadScenario extends ScenarioBase {
  readonly kind: "reload";
  readonly policy: PolicyOrder;
  /** Connections with rights to be refreshed, beside those two. */
  readonly connections: number;
  readonly reloads: number;
  readonly packetBytes: number;
  /** Milliseconds between two packets; 0: as fast as the window allows. */
  readonly paceMs: number;
}

/** Anything that can be measured. */
export type Scenario =
  | RateScenario
  | LatencyScenario
  | IdleScenario
  | OpeningScenario
  | SwapScenario
  | ReloadScenario
  | StallScenario
  | SiegeScenario
  | RestScenario;

/** Messages under way at most in a rate scenario. */
export function windowMessages(scenario: Scenario): number {
  if (scenario.kind === "rate" && scenario.fds > 0) return windowFdMessages(scenario);
  const { messageBytes } = scenario;
  const windowBytes = messageBytes > PACKET_BYTES_MAX ? LARGE_WINDOW_BYTES : WINDOW_BYTES;
  const publishers = scenario.kind === "rate" ? (scenario.publishers ?? 1) : 1;
  const fitting = Math.floor(windowBytes / publishers / (FRAME_HEADER_BYTES + messageBytes));
  return Math.max(WINDOW_MESSAGES_MIN, fitting);
}

/** Copies of fds under way are charged to the publisher; all of the window must fit its quota. */
function windowFdMessages({ subscribers }: RateScenario): number {
  return Math.min(WINDOW_FD_MESSAGES, Math.floor(WINDOW_FD_COPIES / subscribers));
}

const RATE = {
  kind: "rate",
  messageBytes: 64,
  subscribers: 1,
  packetBytes: 32_768,
  topics: 1,
  payload: "bytes",
  fds: 0,
} as const;

const FLOOR = { ...RATE, relay: "floor", publisher: "raw", subscriber: "raw" } as const;
const RAW = { ...FLOOR, relay: "broker" } as const;
const LIBRARY = {
  ...RATE,
  relay: "broker",
  publisher: "library",
  subscriber: "library",
  packetBytes: 65_536,
} as const;

const SWAP = {
  kind: "swap",
  relay: "broker",
  messageBytes: 64,
  comparedTo: { rules: 1, shape: "mixed" },
  swaps: 24,
  stretchMs: 250,
  packetBytes: 32_768,
} as const;

const RELOAD = {
  kind: "reload",
  relay: "broker",
  messageBytes: 64,
  policy: { rules: 10_000, shape: "mixed" },
  connections: 1_000,
  reloads: 3,
} as const;

const ONE = "1 to 1, 32 KiB packets, floor";
const ONE_WIDE = "1 to 1, 64 KiB packets, floor";
const SIXTEEN = "1 to 16, 32 KiB packets, floor";
const MIXED = "1,000 topics, 32 KiB packets, floor";
const SINGLE = "1 to 1, 1 message a packet, floor";
const PING = "ping-pong, floor";
const POLICY_CONTROL = "policy: 1 to 1, 32 KiB packets, 1 rule and 1 rule in turns";
const POLICY_OPEN = "policy: open a topic, 1 rule";
const POLICY_PACED = "policy: reload of 10,000 rules, 1 packet a ms";
const POLICY_BUSY = "policy: reload of 10,000 rules, 32 KiB packets";

/** A message of 64 bytes, alone in its packet. */
const SINGLE_PACKET_BYTES = 80;

const OPENINGS: readonly OpeningScenario[] = RULE_SHAPES.map((shape) => ({
  kind: "opening",
  name: `policy: open a topic, 10,000 rules, ${shape}`,
  relay: "broker",
  messageBytes: 0,
  policy: { rules: 10_000, shape },
  baseline: POLICY_OPEN,
}));

/** All scenarios, those that are compared to each other side by side. */
export const SCENARIOS: readonly Scenario[] = [
  { ...FLOOR, name: ONE, baseline: ONE },
  { ...RAW, name: "1 to 1, 32 KiB packets, raw", baseline: ONE },
  { ...FLOOR, name: ONE_WIDE, packetBytes: 65_536, baseline: ONE_WIDE },
  { ...RAW, name: "1 to 1, 64 KiB packets, raw", packetBytes: 65_536, baseline: ONE_WIDE },
  { ...LIBRARY, name: "1 to 1, library", baseline: ONE_WIDE },
  {
    ...LIBRARY,
    name: "1 to 1, library, async iterator",
    subscriber: "library-iterator",
    baseline: "1 to 1, library",
  },
  {
    ...LIBRARY,
    name: "1 to 1, library, object by msgpack",
    payload: "object",
    baseline: "1 to 1, library",
  },
  {
    ...LIBRARY,
    name: "1 to 1, library publishes, raw receives",
    subscriber: "raw",
    baseline: "1 to 1, library",
  },
  {
    ...LIBRARY,
    name: "1 to 1, raw publishes, library receives",
    publisher: "raw",
    baseline: "1 to 1, library",
  },
  { ...FLOOR, name: SINGLE, packetBytes: SINGLE_PACKET_BYTES, baseline: SINGLE },
  {
    ...RAW,
    name: "1 to 1, 1 message a packet, raw",
    packetBytes: SINGLE_PACKET_BYTES,
    baseline: SINGLE,
  },
  { ...FLOOR, name: SIXTEEN, subscribers: 16, baseline: SIXTEEN },
  { ...RAW, name: "1 to 16, 32 KiB packets, raw", subscribers: 16, baseline: SIXTEEN },
  { ...FLOOR, name: MIXED, topics: 1_000, baseline: MIXED },
  { ...RAW, name: "1,000 topics, 32 KiB packets, raw", topics: 1_000, baseline: MIXED },
  { kind: "latency", name: PING, relay: "floor", client: "raw", messageBytes: 64, baseline: PING },
  {
    kind: "latency",
    name: "ping-pong, raw",
    relay: "broker",
    client: "raw",
    messageBytes: 64,
    baseline: PING,
  },
  {
    kind: "latency",
    name: "ping-pong, library",
    relay: "broker",
    client: "library",
    messageBytes: 64,
    baseline: PING,
  },
  {
    kind: "latency",
    name: "call and answer, library",
    relay: "broker",
    client: "library-call",
    messageBytes: 64,
    baseline: PING,
  },
  { ...SWAP, name: POLICY_CONTROL, policy: SWAP.comparedTo, baseline: POLICY_CONTROL },
  {
    ...SWAP,
    name: "policy: 1 to 1, 32 KiB packets, 1,000 rules and 1 rule in turns",
    policy: { rules: 1_000, shape: "mixed" },
    baseline: POLICY_CONTROL,
  },
  {
    kind: "opening",
    name: POLICY_OPEN,
    relay: "broker",
    messageBytes: 0,
    policy: { rules: 1, shape: "mixed" },
    baseline: POLICY_OPEN,
  },
  ...OPENINGS,
  {
    ...RELOAD,
    name: POLICY_PACED,
    packetBytes: SINGLE_PACKET_BYTES,
    paceMs: 1,
    baseline: POLICY_PACED,
  },
  { ...RELOAD, name: POLICY_BUSY, packetBytes: 32_768, paceMs: 0, baseline: POLICY_BUSY },
];
