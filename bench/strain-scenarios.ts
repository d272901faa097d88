/** What a bus must bear: subscribers that stop, users that misbehave, nothing to do. */

import type { ScenarioBase } from "./scenarios.ts";

/** A stream to several subscribers while one more is absent, reads, and is stopped, in turns. */
export interface StallScenario extends ScenarioBase {
  readonly kind: "stall";
  /** Those whose rate counts: without the one that stops. */
  readonly subscribers: number;
  readonly packetBytes: number;
  /** How often each of the three comes. */
  readonly turns: number;
  /** Milliseconds of each stretch. */
  readonly stretchMs: number;
}

/** Round trips of one user while another one's clients misbehave, here or at another bus. */
export interface SiegeScenario extends ScenarioBase {
  readonly kind: "siege";
  /** Clients that misbehave, all in one process: some stay, the others come and go. */
  readonly clients: number;
  /** Of these, clients that stay, of each of RESIDENT_KINDS. */
  readonly residentsOfEachKind: number;
  /** How often each of the three comes. */
  readonly turns: number;
  /** Milliseconds between misdeeds of eight of each sort; 0: as fast as they can. */
  readonly paceMs: number;
}

/** Nobody is connected. */
export interface RestScenario extends ScenarioBase {
  readonly kind: "rest";
}

const STALL = "a subscriber is stopped, 1 to 3 others, 64 B, raw";
const STALL_SINGLE = "a subscriber is stopped, 1 to 3 others, 1 message a packet, raw";
const SIEGE_PACED =
  "10,000 clients of one uid misbehave, 1,000 times a second, ping-pong of another";
const SIEGE_FAST = "10,000 clients of one uid misbehave as fast as they can, ping-pong of another";

/** Those of one stream last 0.9 s a turn: longer than a stopped subscriber's queues take to fill. */
const STALL_SHAPE = {
  kind: "stall",
  relay: "broker",
  messageBytes: 64,
  subscribers: 3,
  turns: 5,
  stretchMs: 300,
} as const;

const SIEGE_SHAPE = {
  kind: "siege",
  relay: "broker",
  messageBytes: 64,
  clients: 10_000,
  residentsOfEachKind: 24,
  turns: 3,
  policy: { rules: 1, shape: "mixed", allowsAll: true },
} as const;

/** All of them. */
export const STRAIN_SCENARIOS: readonly (StallScenario | SiegeScenario)[] = [
  { ...STALL_SHAPE, name: STALL, packetBytes: 32_768, baseline: STALL },
  { ...STALL_SHAPE, name: STALL_SINGLE, packetBytes: 80, baseline: STALL_SINGLE },
  { ...SIEGE_SHAPE, name: SIEGE_PACED, paceMs: 8, baseline: SIEGE_PACED },
  { ...SIEGE_SHAPE, name: SIEGE_FAST, paceMs: 0, baseline: SIEGE_FAST },
];

/** Whether a scenario takes root, since its clients are of several users. */
export function needsRoot({ kind }: { readonly kind: string }): boolean {
  return kind === "siege";
}
