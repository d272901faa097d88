/**
 * The plots of the benchmark's page as inline SVG. Colours are classes, so that one page serves light
 * and dark. Pure text: nothing is read, nothing is written.
 */

import { contestantOf } from "./comparison-table.ts";
import { kindOf } from "./leads.ts";
import { millions, type Result } from "./results-table.ts";

const WIDTH = 860;
const LABEL_WIDTH = 168;
const VALUE_WIDTH = 132;
const ROW_HEIGHT = 26;
const BAR_HEIGHT = 16;
const AXIS_HEIGHT = 26;
const PLOT_RIGHT = WIDTH - VALUE_WIDTH;

/** Text in HTML. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** A logarithmic scale over whole powers of ten. */
interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

function logScale(values: readonly number[], from: number, to: number): Scale {
  const known = values.filter((value) => value > 0 && Number.isFinite(value));
  const low = Math.floor(Math.log10(Math.min(...known)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known))));
  const at = (value: number): number =>
    from + ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (to - from);
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { at, ticks };
}

function shortNumber(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : String(value);
}

function verticalTicks(scale: Scale, height: number, unit: string): string {
  return scale.ticks
    .map((tick) => {
      const x = scale.at(tick).toFixed(1);
      const label = `<text class="tick" x="${x}" y="${height - 6}">${shortNumber(tick)}${unit}</text>`;
      return `<line class="grid" x1="${x}" x2="${x}" y1="0" y2="${height - AXIS_HEIGHT}"/>${label}`;
    })
    .join("");
}

function svg(height: number, title: string, content: string): string {
  const label = escapeHtml(title);
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${content}</svg>`;
}

function rowLabel(result: Result, y: number): string {
  const text = escapeHtml(contestantOf(result));
  return `<text class="who" x="${LABEL_WIDTH - 10}" y="${y + 17}">${text}</text>`;
}

/** Rates as bars, with the extremes of the repeats as a thin line. */
export function rateBars(title: string, results: readonly Result[]): string {
  const height = results.length * ROW_HEIGHT + AXIS_HEIGHT;
  const extremes = results.flatMap(({ perSecondLow, perSecondHigh }) => [
    perSecondLow,
    perSecondHigh,
  ]);
  const scale = logScale(extremes, LABEL_WIDTH, PLOT_RIGHT);
  const rows = results.map((result, index) => {
    const y = index * ROW_HEIGHT;
    const end = scale.at(result.perSecond);
    const width = Math.max(1, end - LABEL_WIDTH).toFixed(1);
    const [low, high] = [scale.at(result.perSecondLow), scale.at(result.perSecondHigh)];
    const middle = y + 4 + BAR_HEIGHT / 2;
    return [
      rowLabel(result, y),
      `<rect class="bar ${kindOf(result)}" x="${LABEL_WIDTH}" y="${y + 4}" rx="3"`,
      ` width="${width}" height="${BAR_HEIGHT}"/>`,
      `<line class="spread" x1="${low.toFixed(1)}" x2="${high.toFixed(1)}"`,
      ` y1="${middle}" y2="${middle}"/>`,
      `<text class="value" x="${PLOT_RIGHT + 12}" y="${y + 17}">${millions(result.perSecond)}/s</text>`,
    ].join("");
  });
  return svg(height, title, verticalTicks(scale, height, "") + rows.join(""));
}

/** Latencies as a line from p50 to p99.9, with p50 and p99 marked. */
export function latencyRanges(title: string, results: readonly Result[]): string {
  const height = results.length * ROW_HEIGHT + AXIS_HEIGHT;
  const all = results.flatMap(({ p50Us = 0, p999Us = 0 }) => [p50Us, p999Us]);
  const scale = logScale(all, LABEL_WIDTH, PLOT_RIGHT);
  const rows = results.map((result, index) => {
    const y = index * ROW_HEIGHT;
    const middle = y + 12;
    const { p50Us = 0, p99Us = 0, p999Us = 0 } = result;
    const [p50, p99, p999] = [p50Us, p99Us, p999Us].map((us) => scale.at(us).toFixed(1));
    const colour = kindOf(result);
    return [
      rowLabel(result, y),
      `<line class="range ${colour}" x1="${p50}" x2="${p999}" y1="${middle}" y2="${middle}"/>`,
      `<circle class="mark ${colour}" cx="${p50}" cy="${middle}" r="6"/>`,
      `<rect class="mark ${colour}" x="${Number(p99) - 3}" y="${middle - 6}" width="6" height="12"/>`,
      `<text class="value" x="${PLOT_RIGHT + 12}" y="${y + 17}">`,
      `${p50Us.toFixed(0)} / ${p99Us.toFixed(0)} us</text>`,
    ].join("");
  });
  return svg(height, title, verticalTicks(scale, height, " us") + rows.join(""));
}

/** One contestant's cost for each number of subscribers. */
export interface CostLine {
  readonly who: string;
  readonly colour: string;
  readonly points: readonly { readonly subscribers: number; readonly cpuNs: number }[];
}

const COST_HEIGHT = 340;
const COST_BOTTOM = COST_HEIGHT - AXIS_HEIGHT;

/** Least room between two names at the right, in SVG units. */
const NAME_GAP = 15;

/** The relay's CPU for one delivery against the number of subscribers. */
export function costLines(title: string, lines: readonly CostLine[]): string {
  const points = lines.flatMap((line) => line.points);
  const costs = logScale(
    points.map(({ cpuNs }) => cpuNs),
    COST_BOTTOM,
    12,
  );
  const counts = [...new Set(points.map(({ subscribers }) => subscribers))].sort((a, b) => a - b);
  const step = (PLOT_RIGHT - 90) / Math.max(1, counts.length - 1);
  const xOf = (subscribers: number): number => 70 + counts.indexOf(subscribers) * step;
  const grid = costs.ticks.map((tick) => {
    const y = costs.at(tick).toFixed(1);
    const label = `<text class="who" x="58" y="${Number(y) + 4}">${shortNumber(tick)} ns</text>`;
    return `<line class="grid" x1="66" x2="${PLOT_RIGHT}" y1="${y}" y2="${y}"/>${label}`;
  });
  const axis = counts.map(
    (count) => `<text class="tick" x="${xOf(count)}" y="${COST_HEIGHT - 4}">1 to ${count}</text>`,
  );
  let nameY = Number.NEGATIVE_INFINITY;
  const drawn = lines
    .map((line) => ({ ...line, y: costs.at(line.points.at(-1)?.cpuNs ?? 1) }))
    .sort((a, b) => a.y - b.y)
    .map((line) => {
      nameY = Math.max(line.y + 4, nameY + NAME_GAP);
      const path = line.points
        .map(({ subscribers, cpuNs }) => `${xOf(subscribers)},${costs.at(cpuNs).toFixed(1)}`)
        .join(" ");
      const name = escapeHtml(line.who);
      const text = `<text class="name ${line.colour}" x="${PLOT_RIGHT - 8}" y="${nameY}">${name}</text>`;
      return `<polyline class="line ${line.colour}" points="${path}"/>${text}`;
    });
  return svg(COST_HEIGHT, title, [...grid, ...axis, ...drawn].join(""));
}

/** Memory, or another figure beside the rate, as bars from zero. */
export function extraBars(title: string, results: readonly Result[]): string {
  const height = results.length * ROW_HEIGHT + 4;
  const top = Math.max(...results.map(({ extra }) => extra[0]?.value ?? 0), Number.MIN_VALUE);
  const rows = results.map((result, index) => {
    const y = index * ROW_HEIGHT;
    const { value = 0, unit = "" } = result.extra[0] ?? {};
    const width = Math.max(1, (value / top) * (PLOT_RIGHT - LABEL_WIDTH)).toFixed(1);
    return [
      rowLabel(result, y),
      `<rect class="bar ${kindOf(result)}" x="${LABEL_WIDTH}" y="${y + 4}" rx="3"`,
      ` width="${width}" height="${BAR_HEIGHT}"/>`,
      `<text class="value" x="${PLOT_RIGHT + 12}" y="${y + 17}">${value.toFixed(1)} ${unit}</text>`,
    ].join("");
  });
  return svg(height, title, rows.join(""));
}
