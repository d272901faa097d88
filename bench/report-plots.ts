/** The plots of rates, cost and memory of the benchmark's page. Pure text. */

import { kindOf } from "./leads.ts";
import { cpuWords, extraFigures, millions } from "./result-words.ts";
import type { Result } from "./results-table.ts";
import {
  AXIS_HEIGHT,
  columnTitles,
  horizontalTicks,
  LABEL_WIDTH,
  logScale,
  namedLines,
  PLOT_RIGHT,
  ROW_HEIGHT,
  rowLabel,
  rowValues,
  shortNumber,
  shortTime,
  svg,
  verticalTicks,
} from "./svg-drawing.ts";

const BAR_HEIGHT = 16;

/** Rates as bars, with the extremes of the repeats as a thin line. */
export function rateBars(title: string, results: readonly Result[]): string {
  const height = results.length * ROW_HEIGHT + AXIS_HEIGHT;
  const extremes = results.flatMap(({ perSecond }) => [perSecond.lowest, perSecond.highest]);
  const scale = logScale(extremes, LABEL_WIDTH, PLOT_RIGHT);
  const rows = results.map((result, index) => {
    const y = index * ROW_HEIGHT;
    const { value, lowest, highest } = result.perSecond;
    const width = Math.max(1, scale.at(value) - LABEL_WIDTH).toFixed(1);
    const [low, high] = [scale.at(lowest), scale.at(highest)];
    const middle = y + 4 + BAR_HEIGHT / 2;
    return [
      rowLabel(result, y),
      `<rect class="bar ${kindOf(result)}" x="${LABEL_WIDTH}" y="${y + 4}" rx="3"`,
      ` width="${width}" height="${BAR_HEIGHT}"/>`,
      `<line class="spread" x1="${low.toFixed(1)}" x2="${high.toFixed(1)}"`,
      ` y1="${middle}" y2="${middle}"/>`,
      rowValues(y, `${millions(value)}/s`, cpuWords(result)),
    ].join("");
  });
  const axis = verticalTicks(scale, height, shortNumber) + columnTitles(height, "rate");
  return svg(height, title, axis + rows.join(""));
}

/** One contestant's cost for each number of subscribers. */
export interface CostLine {
  readonly who: string;
  /** As of lineStyleOf(). */
  readonly style: string;
  readonly points: readonly { readonly subscribers: number; readonly cpuNs: number }[];
}

const COST_HEIGHT = 340;
const COST_BOTTOM = COST_HEIGHT - AXIS_HEIGHT;

/** The relay's CPU for one delivery against the number of subscribers. */
export function costLines(title: string, lines: readonly CostLine[]): string {
  const points = lines.flatMap((line) => line.points);
  const costs = logScale(
    points.map(({ cpuNs }) => cpuNs),
    COST_BOTTOM,
    12,
  );
  const counts = [...new Set(points.map(({ subscribers }) => subscribers))].sort((a, b) => a - b);
  const step = (PLOT_RIGHT - 84) / Math.max(1, counts.length - 1);
  const xOf = (subscribers: number): number => 70 + counts.indexOf(subscribers) * step;
  const axis = counts.map(
    (count) => `<text class="tick" x="${xOf(count)}" y="${COST_HEIGHT - 4}">1 to ${count}</text>`,
  );
  const drawn = lines.map(({ who, style, points: own }) => ({
    who,
    style,
    points: own.map(({ subscribers, cpuNs }) => [xOf(subscribers), costs.at(cpuNs)] as const),
  }));
  const grid = horizontalTicks(costs, shortTime) + axis.join("");
  return svg(COST_HEIGHT, title, grid + namedLines(drawn, COST_BOTTOM));
}

/** Memory, or another figure beside the rate, as bars from zero. */
export function extraBars(title: string, results: readonly Result[]): string {
  const height = results.length * ROW_HEIGHT + 4;
  const top = Math.max(...results.map(({ extra }) => extra[0]?.value ?? 0), Number.MIN_VALUE);
  const right = PLOT_RIGHT - SPREAD_WORDS_WIDTH;
  const rows = results.map((result, index) => {
    const y = index * ROW_HEIGHT;
    const [figure] = result.extra;
    const width = Math.max(1, ((figure?.value ?? 0) / top) * (right - LABEL_WIDTH)).toFixed(1);
    const words = figure === undefined ? "" : extraFigures(figure);
    return [
      rowLabel(result, y),
      `<rect class="bar ${kindOf(result)}" x="${LABEL_WIDTH}" y="${y + 4}" rx="3"`,
      ` width="${width}" height="${BAR_HEIGHT}"/>`,
      `<text class="value" x="${right + 12}" y="${y + 17}">${words}</text>`,
    ].join("");
  });
  return svg(height, title, rows.join(""));
}

/** A figure with its extremes takes more room than a rate. */
const SPREAD_WORDS_WIDTH = 30;
