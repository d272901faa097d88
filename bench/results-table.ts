/**
 * Measurements of several repeats: medians, extremes, ratios, and a table of them. A ratio is always
 * that of two figures of one repeat, since both then had the same machine; of these the median.
 */

import type { ExtraFigure, Measurement } from "./measurement.ts";
import {
  cpuWords,
  extraWords,
  formatRows,
  millions,
  rateRange,
  ratioWords,
  rssWords,
  timeSpread,
} from "./result-words.ts";
import type { Scenario } from "./scenarios.ts";
import type { RelayKind } from "./work-order.ts";

/** A figure over the repeats: the median, and the extremes. NaN where there is none. */
export interface Spread {
  readonly value: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Round trips over the repeats, in microseconds. */
export interface LatencyResult {
  readonly p50Us: Spread;
  readonly p99Us: Spread;
  /** Absent where there are too few rounds. */
  readonly p999Us?: Spread;
  /** Medians, at those shares of quantiles.ts that every repeat tells; empty where none does. */
  readonly quantilesUs: readonly number[];
}

/** One line of the result: medians over the repeats. */
export interface Result {
  readonly name: string;
  readonly baseline: string;
  /** What is done, where others do the same. */
  readonly work: string | undefined;
  readonly relay: RelayKind;
  readonly kind: Scenario["kind"];
  readonly subscribers: number;
  /** As of Measurement. */
  readonly perSecond: Spread;
  /** This rate by that of the baseline. */
  readonly ratio: Spread;
  /** By that of the floor in C at the same work, where it took part. */
  readonly ofFloorInC?: Spread;
  readonly latency?: LatencyResult;
  /** Over all repeats. */
  readonly checked: number;
  readonly relayCpuNs: number;
  readonly relayPeakRssMib: number;
  readonly extra: readonly ExtraResult[];
  /** What each repeat gave, in their order; null where it failed or was not reached. */
  readonly repeats: readonly (Measurement | null)[];
}

/** One of the extra figures: its median, and the extremes of the repeats. */
export interface ExtraResult extends ExtraFigure, Spread {}

/** One map of measurements by scenario name for each repeat. */
type Repeats = readonly ReadonlyMap<string, Measurement>[];

/** A figure of one run, where it has that. */
type Figure = (run: Measurement) => number | undefined;

/** The results of all scenarios that have been measured at least once. */
export function summarizeRepeats(scenarios: readonly Scenario[], repeats: Repeats): Result[] {
  const floors = new Map(
    scenarios.flatMap(({ work, relay, name }) => (relay === "floor-c" ? [[work, name]] : [])),
  );
  return scenarios.flatMap((scenario) => {
    const floorInC = scenario.work === undefined ? undefined : floors.get(scenario.work);
    return summarize(scenario, floorInC, repeats) ?? [];
  });
}

function summarize(
  scenario: Scenario,
  floorInC: string | undefined,
  repeats: Repeats,
): Result | undefined {
  const runsOf = (name: string) => repeats.map((repeat) => repeat.get(name) ?? null);
  const own = runsOf(scenario.name);
  const runs = own.filter((run) => run !== null);
  if (runs.length === 0) return undefined;
  const rate: Figure = ({ perSecond }) => perSecond;
  const latency = summarizeLatency(runs);
  return {
    name: scenario.name,
    baseline: scenario.baseline,
    work: scenario.work,
    relay: scenario.relay,
    kind: scenario.kind,
    subscribers: scenario.kind === "rate" ? scenario.subscribers : 1,
    perSecond: spreadOf(runs.map(({ perSecond }) => perSecond)),
    ratio: ratioOf(own, runsOf(scenario.baseline), rate),
    ...(floorInC !== undefined && { ofFloorInC: ratioOf(own, runsOf(floorInC), rate) }),
    ...(latency !== undefined && { latency }),
    checked: runs.reduce((sum, run) => sum + run.checked, 0),
    relayCpuNs: median(runs.map(({ relayCpuNs }) => relayCpuNs)),
    relayPeakRssMib: median(runs.map(({ relayPeakRssMib }) => relayPeakRssMib)),
    extra: summarizeExtra(runs),
    repeats: own,
  };
}

/**
 * A figure by the same figure of another, repeat by repeat.
 * @param own one run for each repeat, as `Result.repeats`
 * @param other in the same order
 * @returns over the repeats that both took part in
 */
export function ratioOf(
  own: readonly (Measurement | null)[],
  other: readonly (Measurement | null)[],
  figure: Figure,
): Spread {
  const ratios = own.flatMap((run, repeat) => {
    const beside = other[repeat] ?? null;
    if (run === null || beside === null) return [];
    const [ours, theirs] = [figure(run), figure(beside)];
    return ours === undefined || theirs === undefined ? [] : ours / theirs;
  });
  return spreadOf(ratios);
}

/** @returns undefined also where there were too few rounds for a p99 */
function summarizeLatency(runs: readonly Measurement[]): LatencyResult | undefined {
  // Of all runs or none: the slow ones have fewer rounds, and would be left out.
  const of = (figure: Figure) => {
    const values = runs.flatMap((run) => figure(run) ?? []);
    return spreadOf(values.length === runs.length ? values : []);
  };
  const [p50Us, p99Us, p999Us] = [
    of((run) => run.p50Us),
    of((run) => run.p99Us),
    of((run) => run.p999Us),
  ];
  if (Number.isNaN(p50Us.value) || Number.isNaN(p99Us.value)) return undefined;
  const lists = runs.flatMap((run) => (run.quantilesUs === undefined ? [] : [run.quantilesUs]));
  const length = lists.length === 0 ? 0 : Math.min(...lists.map((list) => list.length));
  const quantilesUs = Array.from({ length }, (_, at) =>
    median(lists.flatMap((list) => list[at] ?? [])),
  );
  return { p50Us, p99Us, ...(!Number.isNaN(p999Us.value) && { p999Us }), quantilesUs };
}

function summarizeExtra(runs: readonly Measurement[]): ExtraResult[] {
  const [first] = runs;
  return (first?.extra ?? []).map((figure, index) => ({
    ...figure,
    ...spreadOf(runs.flatMap((run) => run.extra?.[index]?.value ?? [])),
  }));
}

function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) return { value: Number.NaN, lowest: Number.NaN, highest: Number.NaN };
  return { value: median(values), lowest: Math.min(...values), highest: Math.max(...values) };
}

/** The middle value; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(half)] ?? Number.NaN) + (sorted[Math.ceil(half)] ?? Number.NaN)) / 2;
}

/** A Markdown table that reads well on a terminal too. */
export function formatTable(results: readonly Result[]): string {
  const head = [
    "scenario",
    "a second",
    "low - high",
    "ratio",
    "to",
    "p50",
    "p99",
    "CPU",
    "RSS",
    "also",
  ];
  return formatRows(head, results.map(rowOf));
}

function rowOf(result: Result): string[] {
  const { latency } = result;
  return [
    result.name,
    millions(result.perSecond.value),
    rateRange(result.perSecond),
    ratioWords(result.ratio, 2),
    result.baseline === result.name ? "itself" : result.baseline,
    latency === undefined ? "" : timeSpread(latency.p50Us),
    latency === undefined ? "" : timeSpread(latency.p99Us),
    cpuWords(result),
    rssWords(result),
    result.extra.map(extraWords).join(", "),
  ];
}
