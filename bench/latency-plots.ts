/** The plots of round trips of the benchmark's page: their percentiles, and their distributions. Pure text. */

import { contestantOf } from "./comparison-table.ts";
import { kindOf } from "./leads.ts";
import { ninesOf, QUANTILE_SHARES } from "./quantiles.ts";
import { timeWords } from "./result-words.ts";
import type { LatencyResult, Result, Spread } from "./results-table.ts";
import {
  AXIS_HEIGHT,
  horizontalTicks,
  LABEL_WIDTH,
  logScale,
  namedLines,
  PLOT_RIGHT,
  ROW_HEIGHT,
  rowLabel,
  type Scale,
  shortTime,
  svg,
  verticalTicks,
} from "./svg-drawing.ts";

/** A result that has round trips. */
interface Timed {
  readonly result: Result;
  readonly latency: LatencyResult;
}

/** What the marks of latencyRanges() mean. */
export const RANGE_LEGEND =
  "circle: p50; bar: p99; the line ends at p99.9; thin lines: lowest to highest repeat";

/** What latencyCurves() shows. */
export const CURVE_LEGEND =
  "how long a round trip takes at most, for a share of all: further to the right, the rarer ones";

function timedOnes(results: readonly Result[]): Timed[] {
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
  return svg(height, title, verticalTicks(scale, height, shortTime) + drawn.join(""));
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
    `<text class="value" x="${PLOT_RIGHT + 12}" y="${y + 17}">`,
    `${timeWords(p50 * 1e3)} / ${timeWords(p99 * 1e3)}</text>`,
  ].join("");
}

const CURVE_HEIGHT = 420;
const CURVE_BOTTOM = CURVE_HEIGHT - AXIS_HEIGHT;
const CURVE_LEFT = 70;

/** Names of contestants stand at the right of the plot. */
const CURVE_RIGHT = PLOT_RIGHT - 14;

const MARKED_SHARES: readonly (readonly [share: number, words: string])[] = [
  [0, "least"],
  [0.5, "p50"],
  [0.9, "p90"],
  [0.99, "p99"],
  [0.999, "p99.9"],
  [0.9999, "p99.99"],
];

/**
 * The whole distribution of each contestant as a curve.
 * @returns nothing where no distribution is known
 */
export function latencyCurves(title: string, results: readonly Result[]): string {
  const rows = timedOnes(results).filter(({ latency }) => latency.quantilesUs.length > 0);
  if (rows.length === 0) return "";
  const all = rows.flatMap(({ latency }) => latency.quantilesUs.map((us) => us * 1e3));
  const times = logScale(all, CURVE_BOTTOM, 12);
  const last = ninesOf(QUANTILE_SHARES.at(-1) ?? 0);
  const xOf = (share: number): number =>
    CURVE_LEFT + (ninesOf(share) / last) * (CURVE_RIGHT - CURVE_LEFT);
  const axis = MARKED_SHARES.map(([share, words]) => {
    const x = xOf(share).toFixed(1);
    const label = `<text class="tick" x="${x}" y="${CURVE_HEIGHT - 4}">${words}</text>`;
    return `<line class="grid" x1="${x}" x2="${x}" y1="0" y2="${CURVE_BOTTOM}"/>${label}`;
  });
  const drawn = rows.map(({ result, latency }) => ({
    who: contestantOf(result),
    colour: kindOf(result),
    points: latency.quantilesUs.map(
      (us, at) => [xOf(QUANTILE_SHARES[at] ?? 0), times.at(us * 1e3)] as const,
    ),
  }));
  const grid = horizontalTicks(times, shortTime) + axis.join("");
  return svg(CURVE_HEIGHT, title, grid + namedLines(drawn, CURVE_RIGHT + 8));
}
