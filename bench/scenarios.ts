/**
 * What is measured: each scenario with the one that it is compared to. A figure without its
 * comparison says nothing on a machine that others use too.
 */

import { FRAME_HEADER_BYTES } from "../src/protocol/limits.ts";
import type { ClientKind, PayloadKind, RelayKind } from "./work-order.ts";

/** Bytes that may be under way: fits the relay's socket buffer, so that nothing ever waits. */
const WINDOW_BYTES = 1024 * 1024;

interface ScenarioBase {
  readonly name: string;
  readonly relay: RelayKind;
  readonly messageBytes: number;
  /** Name of the scenario whose figure is 1. */
  readonly baseline: string;
}

/** Messages from one publisher to one or more subscribers. */
export interface RateScenario extends ScenarioBase {
  readonly kind: "rate";
  readonly publisher: Exclude<ClientKind, "library-iterator">;
  readonly subscriber: ClientKind;
  readonly subscribers: number;
  readonly packetBytes: number;
  readonly topics: number;
  readonly payload: PayloadKind;
}

/** One message there and back, one at a time. */
export interface LatencyScenario extends ScenarioBase {
  readonly kind: "latency";
  readonly client: "raw" | "library";
}

/** Anything that can be measured. */
export type Scenario = RateScenario | LatencyScenario;

/** Messages under way at most in a rate scenario. */
export function windowMessages(messageBytes: number): number {
  return Math.floor(WINDOW_BYTES / (FRAME_HEADER_BYTES + messageBytes));
}

const RATE = {
  kind: "rate",
  messageBytes: 64,
  subscribers: 1,
  packetBytes: 32_768,
  topics: 1,
  payload: "bytes",
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

const ONE = "1 to 1, 32 KiB packets, floor";
const ONE_WIDE = "1 to 1, 64 KiB packets, floor";
const SIXTEEN = "1 to 16, 32 KiB packets, floor";
const MIXED = "1,000 topics, 32 KiB packets, floor";
const SINGLE = "1 to 1, 1 message a packet, floor";
const PING = "ping-pong, floor";

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
  { ...FLOOR, name: SINGLE, packetBytes: 80, baseline: SINGLE },
  { ...RAW, name: "1 to 1, 1 message a packet, raw", packetBytes: 80, baseline: SINGLE },
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
];
