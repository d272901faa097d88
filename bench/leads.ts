/** For each work: how far seqbus is ahead of the best peer with the same kind of client. */

import { contestantOf, groupByWork } from "./comparison-table.ts";
import type { Measurement } from "./measurement.ts";
import { formatRows, millions, ratioWords, timeWords } from "./result-words.ts";
import { type Result, ratioOf, type Spread } from "./results-table.ts";

/** Which colour and which kind a contestant has. */
export type ContestantKind = "floor" | "ours" | "ours-library" | "peer" | "npm";

/** One comparison of two. */
export interface Lead {
  readonly work: string;
  readonly clients: "raw" | "library";
  readonly own: Result;
  readonly best: Result;
  /** Above 1: seqbus is better. */
  readonly times: Spread;
  /** The rate by that of the floor in C, for raw clients where there is one. */
  readonly ofFloor: Spread | undefined;
}

/** What a contestant is. */
export function kindOf(result: Result): ContestantKind {
  if (result.relay.startsWith("floor")) return "floor";
  const isLibrary = /, (npm|library)$/.test(result.name);
  if (result.relay === "broker") return isLibrary ? "ours-library" : "ours";
  return isLibrary ? "npm" : "peer";
}

/** The figure that counts, larger for the better: of extra figures fewer KiB, of others the rate. */
function meritOf({ extra, perSecond }: Pick<Measurement, "extra" | "perSecond">): number {
  const figure = extra?.[0];
  return figure === undefined ? perSecond : 1 / Math.max(figure.value, Number.MIN_VALUE);
}

function medianMerit({ extra, perSecond }: Result): number {
  return meritOf({ extra, perSecond: perSecond.value });
}

/** That figure as people read it. */
export function meritWords(result: Result): string {
  const [figure] = result.extra;
  if (figure !== undefined) return `${figure.value.toFixed(1)} ${figure.unit}`;
  if (result.latency !== undefined) return `p50 ${timeWords(result.latency.p50Us.value * 1e3)}`;
  return millions(result.perSecond.value);
}

/** All that can be compared, in the order of the works. */
export function findLeads(results: readonly Result[]): Lead[] {
  return groupByWork(results).flatMap(({ work, results: members }) => [
    ...leadOf(work, "raw", members),
    ...leadOf(work, "library", members),
  ]);
}

function leadOf(work: string, clients: Lead["clients"], results: readonly Result[]): Lead[] {
  const [ours, theirs] = clients === "raw" ? ["ours", "peer"] : ["ours-library", "npm"];
  const own = results.find((result) => kindOf(result) === ours);
  const peers = results.filter((result) => kindOf(result) === theirs);
  const [first] = peers;
  if (own === undefined || first === undefined) return [];
  const best = peers.reduce((a, b) => (medianMerit(b) > medianMerit(a) ? b : a), first);
  const times = ratioOf(own.repeats, best.repeats, meritOf);
  const hasFloor = clients === "raw" && own.extra.length === 0;
  return [{ work, clients, own, best, times, ofFloor: hasFloor ? own.ofFloorInC : undefined }];
}

/** A Markdown table of them. */
export function formatLeads(results: readonly Result[]): string {
  const leads = findLeads(results);
  if (leads.length === 0) return "";
  const head = [
    "work",
    "clients",
    "seqbus",
    "of floor in C",
    "best peer",
    "its figure",
    "ahead by",
  ];
  const rows = leads.map(({ work, clients, own, best, times, ofFloor }) => [
    work,
    clients,
    meritWords(own),
    ratioWords(ofFloor, 2),
    contestantOf(best),
    meritWords(best),
    ratioWords(times, 2),
  ]);
  return `\nseqbus beside the best peer with the same kind of client\n\n${formatRows(head, rows)}`;
}
