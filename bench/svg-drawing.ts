/**
 * What all plots of the benchmark's page are made of, as inline SVG. Colours are classes, so that one
 * page serves light and dark. Pure text: nothing is read, nothing is written.
 */

import { contestantOf } from "./comparison-table.ts";
import { kindOf } from "./leads.ts";
import type { Result } from "./results-table.ts";

/** Of a plot, in SVG units. */
export const WIDTH = 920;

/** Room for the names at the left of rows. */
export const LABEL_WIDTH = 168;

export const ROW_HEIGHT = 26;
export const AXIS_HEIGHT = 26;

/** Where values stand in words from. */
export const PLOT_RIGHT = WIDTH - 192;

/** Least room between two names at the end of lines. */
const NAME_GAP = 15;

/** Text in HTML. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** A logarithmic scale over whole powers of ten. */
export interface Scale {
  readonly at: (value: number) => number;
  readonly ticks: readonly number[];
}

/** One that holds all values above 0; the others stand at its low end. */
export function logScale(values: readonly number[], from: number, to: number): Scale {
  const known = values.filter((value) => value > 0 && Number.isFinite(value));
  const [least, most] = known.length === 0 ? [1, 10] : [Math.min(...known), Math.max(...known)];
  const low = Math.floor(Math.log10(least));
  const high = Math.max(low + 1, Math.ceil(Math.log10(most)));
  const at = (value: number): number =>
    from + ((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * (to - from);
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { at, ticks };
}

/** A tick of a scale of rates. */
export function shortNumber(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : String(value);
}

/** A power of ten in nanoseconds, as a tick. */
export function shortTime(ns: number): string {
  if (ns >= 1e9) return `${ns / 1e9} s`;
  if (ns >= 1e6) return `${ns / 1e6} ms`;
  return ns >= 1e3 ? `${ns / 1e3} us` : `${ns} ns`;
}

/** Lines from top to bottom, each with its value below. */
export function verticalTicks(
  scale: Scale,
  height: number,
  words: (tick: number) => string,
): string {
  return scale.ticks
    .map((tick) => {
      const x = scale.at(tick).toFixed(1);
      const label = `<text class="tick" x="${x}" y="${height - 6}">${words(tick)}</text>`;
      return `<line class="grid" x1="${x}" x2="${x}" y1="0" y2="${height - AXIS_HEIGHT}"/>${label}`;
    })
    .join("");
}

/** Lines from left to right, each with its value before it. */
export function horizontalTicks(scale: Scale, words: (tick: number) => string): string {
  return scale.ticks
    .map((tick) => {
      const y = scale.at(tick).toFixed(1);
      const label = `<text class="who" x="58" y="${Number(y) + 4}">${words(tick)}</text>`;
      return `<line class="grid" x1="66" x2="${PLOT_RIGHT}" y1="${y}" y2="${y}"/>${label}`;
    })
    .join("");
}

/** A plot of its full width. */
export function svg(height: number, title: string, content: string): string {
  const label = escapeHtml(title);
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${content}</svg>`;
}

/** A contestant's name at the left of its row. */
export function rowLabel(result: Result, y: number): string {
  const text = escapeHtml(contestantOf(result));
  return `<text class="who" x="${LABEL_WIDTH - 10}" y="${y + 17}">${text}</text>`;
}

/** What stands right of a row: its figure, and what the relay took for one delivery or round trip. */
export function rowValues(y: number, figure: string, cpu: string): string {
  const at = `y="${y + 17}"`;
  return [
    `<text class="value" x="${PLOT_RIGHT + 12}" ${at}>${figure}</text>`,
    cpu === "" ? "" : `<text class="cost" x="${WIDTH - 2}" ${at}>${cpu}</text>`,
  ].join("");
}

/** What the columns of rowValues() are called, level with the axis. */
export function columnTitles(height: number, figure: string): string {
  const at = `y="${height - 6}"`;
  const middle = `<text class="column" x="${PLOT_RIGHT + 34}" ${at}>${figure}</text>`;
  return `${middle}<text class="cost" x="${WIDTH - 2}" ${at}>relay's CPU</text>`;
}

/** A contestant's line, in SVG units. */
export interface DrawnLine {
  readonly who: string;
  /** Classes for colour and dashes, as of lineStyleOf(). */
  readonly style: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Classes of a line: a colour for each relay, and dashes where clients are libraries. Floors have their own. */
export function lineStyleOf(result: Result): string {
  const kind = kindOf(result);
  if (kind === "floor") return `by-floor ${result.relay}`;
  return `by-${result.relay}${kind === "npm" || kind === "ours-library" ? " dashed" : ""}`;
}

/** From the end of a line to its name. */
const LEADER_WIDTH = 22;

/**
 * Lines with their names behind their ends. Names make room for each other, and a leader in the colour
 * of the line leads to each.
 * @param bottom no name stands below
 */
export function namedLines(lines: readonly DrawnLine[], bottom: number): string {
  const endOf = ({ points }: DrawnLine): readonly [number, number] => points.at(-1) ?? [0, 0];
  const ordered = lines.toSorted((a, b) => endOf(a)[1] - endOf(b)[1]);
  const names = spacedOut(
    ordered.map((line) => endOf(line)[1]),
    bottom,
  );
  return ordered
    .map((line, index) => {
      const [endX, endY] = endOf(line);
      const nameY = names[index] ?? endY;
      const path = line.points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
      const name = escapeHtml(line.who);
      const leader = [
        `${endX.toFixed(1)},${endY.toFixed(1)}`,
        `${(endX + LEADER_WIDTH - 6).toFixed(1)},${nameY.toFixed(1)}`,
        `${(endX + LEADER_WIDTH).toFixed(1)},${nameY.toFixed(1)}`,
      ].join(" ");
      const nameX = (endX + LEADER_WIDTH + 5).toFixed(1);
      return [
        `<polyline class="line ${line.style}" points="${path}"><title>${name}</title></polyline>`,
        `<polyline class="leader ${line.style}" points="${leader}"/>`,
        `<text class="name" x="${nameX}" y="${(nameY + 4).toFixed(1)}">${name}</text>`,
      ].join("");
    })
    .join("");
}

/** The same heights with room for a name each: pushed down first, and then up from the bottom. */
function spacedOut(heights: readonly number[], bottom: number): number[] {
  const spaced: number[] = [];
  for (const height of heights) {
    spaced.push(Math.max(height, (spaced.at(-1) ?? Number.NEGATIVE_INFINITY) + NAME_GAP));
  }
  let limit = bottom;
  for (let index = spaced.length - 1; index >= 0; index--) {
    spaced[index] = Math.min(spaced[index] ?? 0, limit);
    limit = (spaced[index] ?? 0) - NAME_GAP;
  }
  return spaced;
}
