/** Measurements of several repeats: medians, ratios to the baseline, and a table of them. */

import { cpus, release } from "node:os";
import type { ExtraFigure, Measurement } from "./measurement.ts";
import type { Scenario } from "./scenarios.ts";
import type { RelayKind } from "./work-order.ts";

/** One line of the result: medians over the repeats. */
export interface Result extends Omit<Measurement, "extra"> {
  readonly baseline: string;
  /** What is done, where others do the same. */
  readonly work: string | undefined;
  readonly relay: RelayKind;
  readonly subscribers: number;
  /** This figure by that of the baseline; the median of the repeats' own ratios. */
  readonly ratio: number;
  /** Lowest and highest figure of the repeats. */
  readonly perSecondLow: number;
  readonly perSecondHigh: number;
  readonly extra: readonly ExtraResult[];
}

/** One of the extra figures: its median, and the extremes of the repeats. */
export interface ExtraResult extends ExtraFigure {
  readonly lowest: number;
  readonly highest: number;
}

/** Where figures come from: no figure goes without it. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly bun: string;
  readonly date: string;
}

/** The machine that this process runs on. */
export function describeMachine(): Machine {
  const [first] = cpus();
  return {
    cpu: first?.model.trim() ?? "unknown",
    cores: cpus().length,
    kernel: `Linux ${release()} ${process.arch}`,
    bun: Bun.version,
    date: new Date().toISOString().slice(0, 10),
  };
}

/** @param repeats one map of measurements by scenario name for each repeat */
export function summarizeRepeats(
  scenarios: readonly Scenario[],
  repeats: readonly ReadonlyMap<string, Measurement>[],
): Result[] {
  return scenarios.flatMap((scenario) => {
    const { name, baseline, work, relay } = scenario;
    const runs = repeats.flatMap((repeat) => repeat.get(name) ?? []);
    if (runs.length === 0) return [];
    const middle = (figure: (run: Measurement) => number | undefined) =>
      median(runs.flatMap((run) => figure(run) ?? []));
    const ratios = repeats.flatMap((repeat) => {
      const [own, other] = [repeat.get(name), repeat.get(baseline)];
      return own === undefined || other === undefined ? [] : own.perSecond / other.perSecond;
    });
    const latency = runs.every((run) => run.p50Us === undefined)
      ? {}
      : {
          p50Us: middle((run) => run.p50Us),
          p99Us: middle((run) => run.p99Us),
          p999Us: middle((run) => run.p999Us),
        };
    const rates = runs.map((run) => run.perSecond);
    return {
      name,
      baseline,
      work,
      relay,
      subscribers: scenario.kind === "rate" ? scenario.subscribers : 1,
      ratio: median(ratios),
      perSecond: middle((run) => run.perSecond),
      perSecondLow: Math.min(...rates),
      perSecondHigh: Math.max(...rates),
      checked: runs.reduce((sum, run) => sum + run.checked, 0),
      relayCpuNs: middle((run) => run.relayCpuNs),
      relayPeakRssMib: middle((run) => run.relayPeakRssMib),
      ...latency,
      extra: summarizeExtra(runs),
    };
  });
}

function summarizeExtra(runs: readonly Measurement[]): ExtraResult[] {
  const [first] = runs;
  return (first?.extra ?? []).map((figure, index) => {
    const values = runs.flatMap((run) => run.extra?.[index]?.value ?? []);
    const [lowest, highest] = [Math.min(...values), Math.max(...values)];
    return { ...figure, value: median(values), lowest, highest };
  });
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
    "p50 / p99",
    "CPU",
    "RSS",
    "also",
  ];
  return formatRows(head, results.map(rowOf));
}

function rowOf(result: Result): string[] {
  return [
    result.name,
    millions(result.perSecond),
    `${millions(result.perSecondLow)} - ${millions(result.perSecondHigh)}`,
    Number.isNaN(result.ratio) ? "" : result.ratio.toFixed(2),
    result.baseline === result.name ? "itself" : result.baseline,
    result.p50Us === undefined
      ? ""
      : `${result.p50Us.toFixed(0)} / ${(result.p99Us ?? 0).toFixed(0)} us`,
    `${result.relayCpuNs.toFixed(result.relayCpuNs < 100 ? 1 : 0)} ns`,
    `${result.relayPeakRssMib.toFixed(0)} MiB`,
    result.extra.map(extraWords).join(", "),
  ];
}

/** A Markdown table whose columns line up. */
export function formatRows(head: readonly string[], rows: readonly string[][]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = widths.map((width) => "-".repeat(width));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}

/** Its median and extremes, with label and unit. */
export function extraWords({ label, value, lowest, highest, unit }: ExtraResult): string {
  const digits = unit === "times" ? 3 : 1;
  const [middle, low, high] = [value, lowest, highest].map((figure) => figure.toFixed(digits));
  return `${label} ${middle} (${low} - ${high}) ${unit}`;
}

/** Rates from a million on in millions, all others whole. */
export function millions(perSecond: number): string {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(2)} M`;
  if (perSecond < 10_000) return Math.round(perSecond).toLocaleString("en");
  return `${Math.round(perSecond / 100) / 10} k`;
}
