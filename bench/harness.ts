/**
 * Runs one scenario once: starts its processes, joins them, and takes their reports. Every message
 * is checked by the subscribers; a process that fails makes the run fail. Prints nothing.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureIdle } from "./idle-run.ts";
import { measureLatency } from "./latency-run.ts";
import type { Measurement } from "./measurement.ts";
import { coresOf, startOn } from "./placement.ts";
import { policyText } from "./policy-rules.ts";
import { readCpuMs, readPeakRssMib } from "./process-usage.ts";
import { measureRate } from "./rate-run.ts";
import { type RelayServer, startRelay } from "./relay-server.ts";
import { CROWD_PROCESSES, measureReload } from "./reload-run.ts";
import { measureRest } from "./rest-run.ts";
import { RoleProcess } from "./role-process.ts";
import {
  type OpeningScenario,
  type ReloadScenario,
  type Scenario,
  type SwapScenario,
  windowMessages,
} from "./scenarios.ts";
import { measureSiege } from "./siege-run.ts";
import { measureStall } from "./stall-run.ts";
import type { SiegeScenario } from "./strain-scenarios.ts";
import { measureSwaps } from "./swap-run.ts";
import type { ReloadOrder, SiegeOrder, SwapOrder, WorkOrder } from "./work-order.ts";

/** How long and how much. */
export interface RunLimits {
  /** Milliseconds that count. */
  readonly measureMs: number;
  /** Milliseconds before that, as many times as a scenario says. */
  readonly warmUpMs: number;
  /** Messages or rounds at most. */
  readonly messagesMax: number;
  /** Milliseconds at rest between two reloads, at least. */
  readonly restMsMin: number;
}

/** A stream ends when the work beside it is done, which takes long on a busy machine. */
const STREAM_MS_MAX = 60_000;

/**
 * Measures one scenario once.
 * @throws {Error} where a message was lost, or a process failed
 */
export async function measure(scenario: Scenario, limits: RunLimits): Promise<Measurement> {
  const directory = await mkdtemp(join(tmpdir(), "seqbus-bench-"));
  const planned = orderOf(scenario, directory, limits);
  try {
    if (scenario.policy !== undefined && planned.policyPath !== undefined) {
      await Bun.write(planned.policyPath, policyText(scenario.policy));
    }
    await using relay = await startOn(relayCores(scenario), () =>
      startRelay(scenario.relay, planned),
    );
    const order = { ...planned, path: relay.address };
    if (scenario.kind === "latency") return await measureLatency(scenario, order, relay, directory);
    if (scenario.kind === "idle") return await measureIdle(scenario, order, relay);
    if (scenario.kind === "opening") return await measureOpening(scenario, order, relay);
    if (scenario.kind === "swap") return await measureSwaps(scenario, order, relay);
    if (scenario.kind === "reload") return await measureReload(scenario, order, relay);
    if (scenario.kind === "stall") return await measureStall(scenario, order, relay);
    if (scenario.kind === "rest") return await measureRest(scenario, order, relay);
    if (scenario.kind === "siege") return await measureSiege(scenario, order, relay);
    return await measureRate(scenario, order, relay);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function relayCores(scenario: Scenario): readonly number[] {
  return coresOf((scenario.kind === "latency" && scenario.placement) || "unpinned").relay;
}

async function measureOpening(
  scenario: OpeningScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  const cpuFrom = readCpuMs(relay.pid);
  await using opener = new RoleProcess("roles/raw-opener.ts", order);
  const { rounds, p50Us, p99Us, syncP50Us } = await opener.expect("opened");
  const cpuMs = readCpuMs(relay.pid) - cpuFrom;
  return {
    name: scenario.name,
    perSecond: 1e6 / p50Us,
    checked: rounds,
    p50Us,
    ...(p99Us !== undefined && { p99Us }),
    relayCpuNs: (cpuMs * 1e6) / rounds,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [{ label: "over SYNC", value: p50Us - syncP50Us, unit: "us" }],
  };
}

function orderOf(scenario: Scenario, directory: string, limits: RunLimits): WorkOrder {
  const { kind, relay, messageBytes, policy } = scenario;
  const isRate = kind === "rate";
  const isReload = kind === "reload";
  const isSwap = kind === "swap";
  const isStall = kind === "stall";
  const warmUpMs = limits.warmUpMs * (scenario.warmUps ?? 1);
  const pingMs = warmUpMs + limits.measureMs;
  return {
    path: join(directory, "bus.sock"),
    relay,
    messageBytes,
    ...(policy !== undefined && { policyPath: join(directory, "policy.toml") }),
    policyRules: policy?.rules ?? 0,
    ...(isReload && { reload: reloadOrderOf(scenario, limits) }),
    ...(isSwap && { swap: swapOrderOf(scenario) }),
    ...(kind === "siege" && { siege: siegeOrderOf(scenario, pingMs) }),
    paceMs: isReload || kind === "siege" ? scenario.paceMs : 0,
    packetBytes: isRate || isReload || isSwap || isStall ? scenario.packetBytes : 0,
    topics: isRate ? scenario.topics : 1,
    payload: isRate ? scenario.payload : "bytes",
    fds: isRate ? scenario.fds : 0,
    readsAll: isRate && scenario.readsAll === true,
    publishers: isRate ? (scenario.publishers ?? 1) : 1,
    source: 0,
    idleSubscriptions: isRate ? (scenario.idleSubscriptions ?? 0) : 0,
    idleConnections: kind === "idle" ? scenario.connections : 0,
    subscribers: isRate || isStall ? scenario.subscribers : 1,
    windowMessages: windowMessages(scenario),
    warmUpMs,
    durationMs: hasStretches(kind) ? STREAM_MS_MAX : pingMs,
    messagesMax: limits.messagesMax,
  };
}

/** Whether its processes go on until they are told to end. */
function hasStretches(kind: Scenario["kind"]): boolean {
  return kind === "reload" || kind === "swap" || kind === "stall" || kind === "siege";
}

function siegeOrderOf({ clients, residentsOfEachKind }: SiegeScenario, pingMs: number): SiegeOrder {
  return { clients, residentsOfEachKind, pingMs };
}

function reloadOrderOf(scenario: ReloadScenario, limits: RunLimits): ReloadOrder {
  return {
    crowdConnections: Math.ceil(scenario.connections / CROWD_PROCESSES),
    reloads: scenario.reloads,
    restMsMin: limits.restMsMin,
  };
}

function swapOrderOf({ policy, comparedTo, swaps, stretchMs }: SwapScenario): SwapOrder {
  return { one: comparedTo, other: policy, swaps, stretchMs };
}
