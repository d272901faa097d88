/** One table for each work: everybody who did it, beside the floors and beside seqbus. */

import { extraWords, formatRows, millions, type Result } from "./results-table.ts";

/** A work and its results, the baseline first. */
export interface WorkResults {
  readonly work: string;
  readonly results: readonly Result[];
}

/** Results that belong to a work, in their order. */
export function groupByWork(results: readonly Result[]): WorkResults[] {
  const groups = new Map<string, Result[]>();
  for (const result of results) {
    if (result.work === undefined) continue;
    const group = groups.get(result.work) ?? [];
    group.push(result);
    groups.set(result.work, group);
  }
  return [...groups].map(([work, members]) => ({ work, results: members }));
}

/** The contestant's part of a scenario's name. */
export function contestantOf({ name, work = "" }: Result): string {
  return name.slice(work.length + 2);
}

/** All tables as Markdown. */
export function formatComparisons(results: readonly Result[]): string {
  return groupByWork(results)
    .map(({ work, results: members }) => `\n${work}\n\n${formatWork(members)}`)
    .join("\n");
}

function formatWork(results: readonly Result[]): string {
  const isLatency = results.some(({ p50Us }) => p50Us !== undefined);
  const isIdle = results.every(({ extra }) => extra.length > 0);
  if (isLatency) return formatLatency(results);
  if (isIdle) return formatIdle(results);
  const floorInC = results.find(({ relay }) => relay === "floor-c");
  const hasBaseline = results.some(({ name, baseline }) => name === baseline);
  const rows = results.map((result) => [
    contestantOf(result),
    millions(result.perSecond),
    `${millions(result.perSecondLow)} - ${millions(result.perSecondHigh)}`,
    result.ratio.toFixed(3),
    floorInC === undefined ? "" : (result.perSecond / floorInC.perSecond).toFixed(3),
    `${result.relayCpuNs.toFixed(result.relayCpuNs < 100 ? 1 : 0)} ns`,
    `${result.relayPeakRssMib.toFixed(0)} MiB`,
  ]);
  const first = hasBaseline ? "to floor in TS" : "to itself without";
  return formatRows(["who", "a second", "low - high", first, "to floor in C", "CPU", "RSS"], rows);
}

function formatLatency(results: readonly Result[]): string {
  const [baseline] = results;
  const rows = results.map((result) => [
    contestantOf(result),
    ...[result.p50Us, result.p99Us, result.p999Us].map((us) => `${us?.toFixed(1)} us`),
    ((result.p50Us ?? 0) / (baseline?.p50Us ?? 0)).toFixed(2),
    `${(result.relayCpuNs / 1000).toFixed(1)} us`,
  ]);
  return formatRows(["who", "p50", "p99", "p99.9", "p50 to floor in TS", "CPU a round"], rows);
}

function formatIdle(results: readonly Result[]): string {
  const rows = results.map((result) => [
    contestantOf(result),
    result.extra.map(extraWords).join(", "),
    `${result.relayPeakRssMib.toFixed(0)} MiB`,
  ]);
  return formatRows(["who", "memory", "RSS in all"], rows);
}
