/** For each work: how far seqbus is ahead of the best peer with the same kind of client. */

import { contestantOf, groupByWork } from "./comparison-table.ts";
import { formatRows, millions, type Result } from "./results-table.ts";

/** Which colour and which kind a contestant has. */
export type ContestantKind = "floor" | "ours" | "ours-library" | "peer" | "npm";

/** One comparison of two. */
export interface Lead {
  readonly work: string;
  readonly clients: "raw" | "library";
  readonly own: Result;
  readonly best: Result;
  /** Above 1: seqbus is better. */
  readonly times: number;
  /** Of the floor in C, for raw clients where there is one. */
  readonly ofFloor: number | undefined;
}

/** What a contestant is. */
export function kindOf(result: Result): ContestantKind {
  if (result.relay.startsWith("floor")) return "floor";
  const isLibrary = /, (npm|library)$/.test(result.name);
  if (result.relay === "broker") return isLibrary ? "ours-library" : "ours";
  return isLibrary ? "npm" : "peer";
}

/** The figure that counts, larger for the better: of idle connections fewer KiB, of others the rate. */
function meritOf(result: Result): number {
  const [figure] = result.extra;
  return figure === undefined ? result.perSecond : 1 / Math.max(figure.value, Number.MIN_VALUE);
}

/** That figure as people read it. */
export function meritWords(result: Result): string {
  const [figure] = result.extra;
  if (figure !== undefined) return `${figure.value.toFixed(1)} ${figure.unit}`;
  if (result.p50Us !== undefined) return `p50 ${result.p50Us.toFixed(0)} us`;
  return millions(result.perSecond);
}

/** All that can be compared, in the order of the works. */
export function findLeads(results: readonly Result[]): Lead[] {
  return groupByWork(results).flatMap(({ work, results: members }) => {
    const floor = members.find(({ relay }) => relay === "floor-c");
    return [...leadOf(work, "raw", members, floor), ...leadOf(work, "library", members, undefined)];
  });
}

function leadOf(
  work: string,
  clients: Lead["clients"],
  results: readonly Result[],
  floor: Result | undefined,
): Lead[] {
  const [ours, theirs] = clients === "raw" ? ["ours", "peer"] : ["ours-library", "npm"];
  const own = results.find((result) => kindOf(result) === ours);
  const peers = results.filter((result) => kindOf(result) === theirs);
  const [first] = peers;
  if (own === undefined || first === undefined) return [];
  const best = peers.reduce((one, other) => (meritOf(other) > meritOf(one) ? other : one), first);
  const ofFloor = floor === undefined ? undefined : own.perSecond / floor.perSecond;
  return [{ work, clients, own, best, times: meritOf(own) / meritOf(best), ofFloor }];
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
    ofFloor === undefined || own.extra.length > 0 ? "" : ofFloor.toFixed(2),
    contestantOf(best),
    meritWords(best),
    times.toFixed(2),
  ]);
  return `\nseqbus beside the best peer with the same kind of client\n\n${formatRows(head, rows)}`;
}
