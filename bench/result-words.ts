/** Figures as people read them, and tables of them. Pure. */

import type { ExtraResult, Result, Spread } from "./results-table.ts";

const TIME_UNITS: readonly (readonly [nanoseconds: number, unit: string])[] = [
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "us"],
  [1, "ns"],
];

/** Shown where there is no figure. */
const NOTHING = "";

/** Rates from a million on in millions, all others whole. */
export function millions(perSecond: number): string {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(2)} M`;
  if (perSecond < 10_000) return Math.round(perSecond).toLocaleString("en");
  return `${Math.round(perSecond / 100) / 10} k`;
}

/** Lowest and highest rate of the repeats. */
export function rateRange({ lowest, highest }: Spread): string {
  return `${millions(lowest)} - ${millions(highest)}`;
}

/** Nanoseconds in the unit that suits them; nothing where they are no number. */
export function timeWords(ns: number): string {
  if (!Number.isFinite(ns)) return NOTHING;
  const [size, unit] = timeUnit(ns);
  return `${threeDigits(ns / size)} ${unit}`;
}

/** Microseconds with the extremes of the repeats, all in one unit. */
export function timeSpread(spread: Spread): string {
  if (!Number.isFinite(spread.value)) return NOTHING;
  const [size, unit] = timeUnit(spread.value * 1e3);
  return `${spreadWords(spread, (us) => threeDigits((us * 1e3) / size))} ${unit}`;
}

/** A ratio with the extremes of the repeats; nothing where what it is to is absent. */
export function ratioWords(ratio: Spread | undefined, digits = 3): string {
  if (ratio === undefined || !Number.isFinite(ratio.value)) return NOTHING;
  return spreadWords(ratio, (figure) => figure.toFixed(digits));
}

/** Extremes in brackets, where there is more than one figure. */
function spreadWords(
  { value, lowest, highest }: Spread,
  words: (figure: number) => string,
): string {
  if (lowest === highest) return words(value);
  return `${words(value)} (${words(lowest)} - ${words(highest)})`;
}

/** Its median and extremes, with label and unit. */
export function extraWords(figure: ExtraResult): string {
  return `${figure.label} ${extraFigures(figure)}`;
}

/** The same without its label. */
export function extraFigures({ value, lowest, highest, unit }: ExtraResult): string {
  const digits = unit === "times" ? 3 : 1;
  return `${ratioWords({ value, lowest, highest }, digits)} ${unit}`;
}

/** The relay's CPU for one delivery; at rest there is none, and its share stands beside it. */
export function cpuWords({ kind, relayCpuNs }: Result): string {
  return kind === "rest" ? NOTHING : timeWords(relayCpuNs);
}

/** Peak RSS of the relay. */
export function rssWords({ relayPeakRssMib }: Result): string {
  return `${relayPeakRssMib.toFixed(relayPeakRssMib < 10 ? 1 : 0)} MiB`;
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

function timeUnit(ns: number): readonly [number, string] {
  return TIME_UNITS.find(([size]) => ns >= size) ?? [1, "ns"];
}

function threeDigits(value: number): string {
  if (value === 0) return "0";
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}
