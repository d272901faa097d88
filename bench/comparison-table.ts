/** One table for each work: everybody who did it, beside the floors and beside seqbus. */

import {
  cpuWords,
  extraFigures,
  extraWords,
  formatRows,
  millions,
  rateRange,
  ratioWords,
  rssWords,
  timeSpread,
} from "./result-words.ts";
import { type Result, ratioOf } from "./results-table.ts";

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

/** The table of one work, by the kind of its scenarios. */
export function formatWork(results: readonly Result[]): string {
  if (results.some(({ latency }) => latency !== undefined)) return formatLatency(results);
  if (results.every(({ kind }) => kind === "idle" || kind === "rest")) return formatIdle(results);
  return formatRates(results);
}

function formatRates(results: readonly Result[]): string {
  const hasBaseline = results.some(({ name, baseline }) => name === baseline);
  const hasExtra = results.some(({ extra }) => extra.length > 0);
  const rows = results.map((result) => [
    contestantOf(result),
    millions(result.perSecond.value),
    rateRange(result.perSecond),
    ratioWords(result.ratio),
    ratioWords(result.ofFloorInC),
    cpuWords(result),
    rssWords(result),
    ...(hasExtra ? [result.extra.map(extraWords).join(", ")] : []),
  ]);
  const first = hasBaseline ? "to floor in TS" : "to itself without";
  const head = ["who", "a second", "low - high", first, "to floor in C", "CPU", "RSS"];
  return formatRows([...head, ...(hasExtra ? ["also"] : [])], rows);
}

function formatLatency(results: readonly Result[]): string {
  const [inTypeScript, inC] = (["floor", "floor-c"] as const).map((relay) =>
    results.find((result) => result.relay === relay),
  );
  const medianRatio = (result: Result, floor: Result | undefined) =>
    floor === undefined ? "" : ratioWords(ratioOf(result.repeats, floor.repeats, p50Of), 2);
  const rows = results.map((result) => [
    contestantOf(result),
    ...[result.latency?.p50Us, result.latency?.p99Us, result.latency?.p999Us].map((us) =>
      us === undefined ? "" : timeSpread(us),
    ),
    medianRatio(result, inTypeScript),
    medianRatio(result, inC),
    cpuWords(result),
    rssWords(result),
  ]);
  const ratios = ["p50 to floor in TS", "p50 to floor in C"];
  return formatRows(["who", "p50", "p99", "p99.9", ...ratios, "CPU a round", "RSS"], rows);
}

function p50Of({ p50Us }: { readonly p50Us?: number }): number | undefined {
  return p50Us;
}

/** One column for each of the extra figures; connections take CPU as well. */
function formatIdle(results: readonly Result[]): string {
  const labels = (results[0]?.extra ?? []).map(({ label }) => label);
  const isIdle = results.some(({ kind }) => kind === "idle");
  const rows = results.map((result) => [
    contestantOf(result),
    ...labels.map((_, at) => {
      const figure = result.extra[at];
      return figure === undefined ? "" : extraFigures(figure);
    }),
    ...(isIdle ? [cpuWords(result)] : []),
    rssWords(result),
  ]);
  const cpu = isIdle ? ["CPU a connection"] : [];
  return formatRows(["who", ...labels, ...cpu, "peak RSS in all"], rows);
}
