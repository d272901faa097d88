/**
 * What a benchmark process is told to do, and what it says back: one JSON argument, and one JSON
 * object a line on stdout. Must not know scenarios: those are scenarios.ts.
 */

import type { PeerKind } from "./peers/peer-kinds.ts";
import type { PolicyOrder } from "./policy-rules.ts";

/**
 * How a subscriber or publisher takes part. "memory": each body is sealed memory, past any library.
 * "-call": it calls a service, or serves it.
 */
export type ClientKind =
  | "raw"
  | "library"
  | "library-iterator"
  | "npm"
  | "memory"
  | "raw-call"
  | "library-call"
  | "npm-call";

/**
 * Which process stands in the middle: a bare relay in TypeScript or C, seqbus, or a peer. The floors
 * pass on packet by packet, but for the last of them.
 */
export type RelayKind = "floor" | "floor-c" | "floor-c-stretches" | "broker" | PeerKind;

/** What a message is made of: plain bytes, or an object through the client's msgpack. */
export type PayloadKind = "bytes" | "object";

/** One process's orders. */
export interface WorkOrder {
  /** Pathname of the relay's socket; "127.0.0.1:PORT" for a peer that has none. */
  readonly path: string;
  readonly relay: RelayKind;
  /** Bytes of one message body, 16 and more; without meaning for objects. */
  readonly messageBytes: number;
  /** Bytes of one packet at most, for raw publishers. */
  readonly packetBytes: number;
  /** Topics that the publisher uses, one after the other. */
  readonly topics: number;
  readonly payload: PayloadKind;
  /** Open files that come with each message; then each is alone in its packet. */
  readonly fds: number;
  /** Whether a subscriber reads every byte of a body, or its front alone. */
  readonly readsAll: boolean;
  /** Publishers of one subscriber, which inherits a credit socket of each. */
  readonly publishers: number;
  /** Which of them this one is: the second word of each of its bodies. */
  readonly source: number;
  /** Topics that somebody subscribes to and nobody uses. */
  readonly idleSubscriptions: number;
  /** Connections that somebody makes and nobody uses. */
  readonly idleConnections: number;
  /** Messages that may be under way at a time, so that no queue ever has to drop. */
  readonly windowMessages: number;
  /** Where pinging processes keep their samples for the next one of the run. Absent: nowhere. */
  readonly samplesPath?: string;
  /** Milliseconds at the start that do not count. */
  readonly warmUpMs: number;
  /** Milliseconds that a publisher sends, the warm-up included. */
  readonly durationMs: number;
  /** A publisher stops here in any case. */
  readonly messagesMax: number;
  /** Policy file of the broker. Absent: it serves its own uid alone. */
  readonly policyPath?: string;
  /** Rules of that policy; 0 without one. */
  readonly policyRules: number;
  /** Milliseconds between two packets of a stream, or between misdeeds; 0: as fast as it goes. */
  readonly paceMs: number;
  /** Absent in all but reload scenarios. */
  readonly reload?: ReloadOrder;
  /** Absent in all but swap scenarios. */
  readonly swap?: SwapOrder;
  /** Absent in all but siege scenarios. */
  readonly siege?: SiegeOrder;
  /** Subscribers whose credit sockets a publisher inherits, from CREDIT_FD_FIRST on. */
  readonly subscribers: number;
}

/** What the processes of a reload scenario do. */
export interface ReloadOrder {
  /** Connections of one crowd process. */
  readonly crowdConnections: number;
  /** How often the policy is loaded anew. */
  readonly reloads: number;
  /** Milliseconds of a stretch at rest, at least. */
  readonly restMsMin: number;
}

/** What the processes of a swap scenario do. */
export interface SwapOrder {
  /** The policies that take turns. */
  readonly one: PolicyOrder;
  readonly other: PolicyOrder;
  /** Stretches in all. */
  readonly swaps: number;
  /** Milliseconds of each. */
  readonly stretchMs: number;
}

/** What the processes of a siege scenario do. */
export interface SiegeOrder {
  /** Clients that misbehave. */
  readonly clients: number;
  /** Of these, clients that stay, of each of RESIDENT_KINDS. */
  readonly residentsOfEachKind: number;
  /** Milliseconds of round trips in each stretch, their warm-up included. */
  readonly pingMs: number;
}

/** The first fd that a client process inherits: its end of a credit socket. */
export const CREDIT_FD_FIRST = 3;

/** What a process tells the harness. */
export type RoleReport =
  /** It can be used: listens, or is subscribed. */
  | { readonly type: "ready" }
  /** The first packet is here. */
  | { readonly type: "streaming" }
  /** The warm-up is over: figures count from here. */
  | { readonly type: "warm" }
  /** A publisher has sent its last message. */
  | { readonly type: "published"; readonly messages: number }
  | ReceivedReport
  | LatencyReport
  | OpenedReport
  | ObservedReport
  | StretchesReport
  | BesiegedReport
  /** Every connection of a crowd was told of every reload. */
  | { readonly type: "refreshed"; readonly connections: number };

/** What clients that misbehave have done. */
export interface BesiegedReport {
  readonly type: "besieged";
  /** How often they have connected. */
  readonly attempts: number;
  /** Packets of those that stay, by what they are for; see RESIDENT_KINDS. */
  readonly deeds: Readonly<Record<string, number>>;
}

/** A subscriber has got, and checked, every message. */
export interface ReceivedReport {
  readonly type: "received";
  /** All messages. */
  readonly messages: number;
  /** Those after the first look at what had come. */
  readonly all: CountedStretch;
  /** Those after the warm-up; absent where no message came after it. */
  readonly warm?: CountedStretch;
}

/** Messages, and the milliseconds in which they came. */
export interface CountedStretch {
  readonly messages: number;
  readonly ms: number;
}

/** A pinging process is done. */
export interface LatencyReport {
  readonly type: "latency";
  readonly rounds: number;
  readonly p50Us: number;
  /** Absent, as the next, where too few rounds took longer: see isTold(). */
  readonly p99Us?: number;
  readonly p999Us?: number;
  /** At QUANTILE_SHARES, from the first to the last that isTold(). */
  readonly quantilesUs: readonly number[];
}

/** An opening process is done. */
export interface OpenedReport {
  readonly type: "opened";
  /** Topics opened. */
  readonly rounds: number;
  /** From OPEN_TOPIC to ACK. */
  readonly p50Us: number;
  readonly p99Us?: number;
  /** From SYNC to ACK, in the same rounds. */
  readonly syncP50Us: number;
}

/** What an observing subscriber saw of a stream. */
export interface ObservedReport {
  readonly type: "observed";
  readonly messages: number;
  /** From the first packet to the last. */
  readonly ms: number;
  /** In their order; those that are too short to matter are left out. */
  readonly gaps: readonly Gap[];
  /** In their order, every few milliseconds. */
  readonly counts: readonly Count[];
}

/** Messages so far. */
export interface Count {
  /** By wallClockMs(). */
  readonly at: number;
  readonly messages: number;
}

/** A time without deliveries. */
export interface Gap {
  /** Its end, by wallClockMs(). */
  readonly endedAt: number;
  readonly ms: number;
}

/** What a reload scenario consists of, in turns. */
export const STRETCH_KINDS = ["rest", "reader", "reload"] as const;

/** One of STRETCH_KINDS. "reader": the policy is read as for a reload, but not by the broker. */
export type StretchKind = (typeof STRETCH_KINDS)[number];

/** What a swap scenario consists of, in turns: stretches under one policy and under the other. */
export const SWAP_KINDS = ["one", "other"] as const;

/** What a stall scenario consists of, in turns: what one subscriber does beside those that count. */
export const STALL_KINDS = ["absent", "reads", "stopped"] as const;

/** When something was done, by wallClockMs(). */
export interface TimedStretch {
  readonly kind: StretchKind | (typeof SWAP_KINDS)[number] | (typeof STALL_KINDS)[number];
  readonly from: number;
  readonly to: number;
}

/** A process that divides a run into stretches is done. */
export interface StretchesReport {
  readonly type: "stretches";
  readonly stretches: readonly TimedStretch[];
}

/** Milliseconds since 1970, with a fraction: a clock that all processes of a run share. */
export function wallClockMs(): number {
  return performance.timeOrigin + performance.now();
}

/** The order in this process's first argument. */
export function readWorkOrder(): WorkOrder {
  return JSON.parse(process.argv[2] ?? "") as WorkOrder;
}

/** Tells the harness. */
export function report(message: RoleReport): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
