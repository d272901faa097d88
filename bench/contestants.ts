/** Which scenarios can run on this machine, and who is absent. */

import { COMPARISONS } from "./comparisons.ts";
import { findNpmClient } from "./peers/npm-client.ts";
import { isPeer, PEER_KINDS, type PeerKind } from "./peers/peer-kinds.ts";
import { canPlace } from "./placement.ts";
import { COMPILER, findRelay } from "./relay-server.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";
import { needsRoot, STRAIN_SCENARIOS } from "./strain-scenarios.ts";

const IS_ROOT = process.geteuid?.() === 0;

/** What to run. */
export interface Selection {
  readonly scenarios: readonly Scenario[];
  /** Who takes part, with versions. */
  readonly present: readonly string[];
  /** Who cannot, and why. */
  readonly absent: readonly string[];
}

/**
 * The scenarios that a filter names and that can run here, with those that they are compared to.
 * @param filter part of a name; empty for all
 * @param options peers: those that are installed too; compare: nothing but comparisons
 */
export function selectScenarios(
  filter: string,
  { peers: withPeers, compare }: { peers: boolean; compare: boolean },
): Selection {
  const known = compare ? COMPARISONS : [...SCENARIOS, ...STRAIN_SCENARIOS, ...COMPARISONS];
  const all = known.filter((scenario) => canRun(scenario, withPeers));
  const named = all.filter(({ name }) => name.includes(filter));
  const wanted = new Set(named.flatMap(({ name, baseline }) => [name, baseline]));
  // A baseline may have one of its own.
  for (const { name, baseline } of all) if (wanted.has(name)) wanted.add(baseline);
  const { present, absent } = lookAround(withPeers);
  return { scenarios: all.filter(({ name }) => wanted.has(name)), present, absent };
}

/** Whether this machine has what a scenario needs. */
export function canRun(scenario: Scenario, withPeers: boolean): boolean {
  const { relay } = scenario;
  if (needsRoot(scenario) && !IS_ROOT) return false;
  if (scenario.kind === "latency" && !canPlace(scenario.placement ?? "unpinned")) return false;
  if (!isPeer(relay)) return findRelay(relay) !== undefined;
  if (!withPeers || findRelay(relay) === undefined) return false;
  const client = scenario.kind === "rate" ? scenario.publisher : clientOf(scenario);
  return !client.startsWith("npm") || findNpmClient(relay) !== undefined;
}

function clientOf(scenario: Scenario): string {
  return scenario.kind === "latency" ? scenario.client : "raw";
}

function lookAround(withPeers: boolean): { present: string[]; absent: string[] } {
  const present: string[] = [];
  const absent: string[] = [];
  const note = (name: string, version: string | undefined, reason: string): void => {
    if (version === undefined) absent.push(`${name} (${reason})`);
    else present.push(`${name} ${version}`);
  };
  note("floor in C:", findRelay("floor-c"), `no ${COMPILER}`);
  if (!canPlace("one core")) absent.push("round trips on chosen cores (there is one core)");
  if (!IS_ROOT) absent.push("clients of another user (takes root)");
  if (!withPeers) {
    absent.push(`${PEER_KINDS.join(", ")} (not asked for: --peers)`);
    return { present, absent };
  }
  for (const peer of PEER_KINDS) {
    const version = findRelay(peer);
    note(peer, version, "not installed: bench/peers/setup");
    if (version === undefined) continue;
    const client = findNpmClient(peer);
    if (client === undefined) absent.push(`npm client of ${peer} (${reasonOf(peer)})`);
    else present.push(client);
  }
  return { present: [...new Set(present)], absent };
}

function reasonOf(peer: PeerKind): string {
  return peer === "zeromq" ? "does not run in Bun" : "not installed: bench/peers/setup";
}
