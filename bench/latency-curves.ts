/** The plot of the distributions of round trips of the benchmark's page. Pure text. */

import { contestantOf } from "./comparison-table.ts";
import { type Timed, timedOnes } from "./latency-plots.ts";
import { kindOf } from "./leads.ts";
import { ninesOf, QUANTILE_SHARES } from "./quantiles.ts";
import type { Result } from "./results-table.ts";
import {
  AXIS_HEIGHT,
  horizontalTicks,
  lineStyleOf,
  logScale,
  namedLines,
  PLOT_RIGHT,
  shortTime,
  svg,
} from "./svg-drawing.ts";

/** More lines than these in one plot cannot be told apart. */
const PEERS_OF_A_KIND = 2;

/** What latencyCurves() shows. */
export const CURVE_LEGEND =
  "how long a round trip takes at most, for a share of all: further to the right, the rarer ones; dashes: " +
  "libraries and npm clients; shown are seqbus, the floor in C, and of raw and npm peers the two with the best p99 each";

/** Those whose curves are drawn, in their order. */
function shownOnes(results: readonly Result[]): Timed[] {
  const known = timedOnes(results).filter(({ latency }) => latency.quantilesUs.length > 0);
  const best = (["peer", "npm"] as const).flatMap((kind) =>
    known
      .filter(({ result }) => kindOf(result) === kind)
      .toSorted((a, b) => a.latency.p99Us.value - b.latency.p99Us.value)
      .slice(0, PEERS_OF_A_KIND),
  );
  return known.filter((timed) => {
    const isOurs = timed.result.relay === "broker" || timed.result.relay === "floor-c";
    return isOurs || best.includes(timed);
  });
}

const CURVE_HEIGHT = 420;
const CURVE_BOTTOM = CURVE_HEIGHT - AXIS_HEIGHT;
const CURVE_LEFT = 70;

/** Leaders and names stand at the right of the plot. */
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
  const rows = shownOnes(results);
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
    style: lineStyleOf(result),
    points: latency.quantilesUs.map(
      (us, at) => [xOf(QUANTILE_SHARES[at] ?? 0), times.at(us * 1e3)] as const,
    ),
  }));
  const grid = horizontalTicks(times, shortTime) + axis.join("");
  return svg(CURVE_HEIGHT, title, grid + namedLines(drawn, CURVE_BOTTOM));
}
