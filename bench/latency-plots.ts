/** The plot of the percentiles of round trips of the benchmark's page. Pure text. */

import { kindOf } from "./leads.ts";
import { cpuWords, timeWords } from "./result-words.ts";
import type { LatencyResult, Result, Spread } from "./results-table.ts";
import {
  AXIS_HEIGHT,
  columnTitles,
  LABEL_WIDTH,
  logScale,
  PLOT_RIGHT,
  ROW_HEIGHT,
  rowLabel,
  rowValues,
  type Scale,
  shortTime,
  svg,
  verticalTicks,
} from "./svg-drawing.ts";

/** A result that has round trips. */
export interface Timed {
  readonly result: Result;
  readonly latency: LatencyResult;
}

/** What the marks of latencyRanges() mean. */
export const RANGE_LEGEND =
  "circle: p50; bar: p99; the line ends at p99.9; thin lines: lowest to highest repeat";

/** Those that have round trips. */
export function timedOnes(results: readonly Result[]): Timed[] {
  return results.flatMap((result) => {
    const { latency } = result;
    return latency === undefined ? [] : [{ result, latency }];
  });
}

/** Round trips as a line from p50 to p99.9, with p50 and p99 marked. */
export function latencyRanges(title: string, results: readonly Result[]): string {
  const rows = timedOnes(results);
  const height = rows.length * ROW_HEIGHT + AXIS_HEIGHT;
  const all = rows.flatMap(({ latency: { p50Us, p99Us, p999Us = p99Us } }) =>
    [p50Us.lowest, p99Us.highest, p999Us.value].map((us) => us * 1e3),
  );
  const scale = logScale(all, LABEL_WIDTH, PLOT_RIGHT);
  const drawn = rows.map((row, index) => rangeRow(row, index * ROW_HEIGHT, scale));
  const axis = verticalTicks(scale, height, shortTime) + columnTitles(height, "p50 / p99");
  return svg(height, title, axis + drawn.join(""));
}

function rangeRow({ result, latency }: Timed, y: number, scale: Scale): string {
  const { p50Us, p99Us, p999Us = p99Us } = latency;
  const middle = y + 12;
  const xOf = (us: number): string => scale.at(us * 1e3).toFixed(1);
  const colour = kindOf(result);
  const spread = ({ lowest, highest }: Spread): string =>
    `<line class="spread" x1="${xOf(lowest)}" x2="${xOf(highest)}" y1="${middle}" y2="${middle}"/>`;
  const [p50, p99] = [p50Us.value, p99Us.value];
  return [
    rowLabel(result, y),
    `<line class="range ${colour}" x1="${xOf(p50)}" x2="${xOf(p999Us.value)}"`,
    ` y1="${middle}" y2="${middle}"/>`,
    `<circle class="mark ${colour}" cx="${xOf(p50)}" cy="${middle}" r="6"/>`,
    `<rect class="mark ${colour}" x="${Number(xOf(p99)) - 3}" y="${y + 6}" width="6" height="12"/>`,
    spread(p50Us),
    spread(p99Us),
    rowValues(y, `${timeWords(p50 * 1e3)} / ${timeWords(p99 * 1e3)}`, cpuWords(result)),
  ].join("");
}
