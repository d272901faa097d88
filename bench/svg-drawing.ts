/**
 * What all plots of the benchmark's page are made of, as inline SVG. Colours are classes, so that one
 * page serves light and dark. Pure text: nothing is read, nothing is written.
 */

import { contestantOf } from "./comparison-table.ts";
import type { Result } from "./results-table.ts";

/** Of a plot, in SVG units. */
export const WIDTH = 860;

/** Room for the names at the left of rows. */
export const LABEL_WIDTH = 168;

export const ROW_HEIGHT = 26;
export const AXIS_HEIGHT = 26;

/** Where values stand in words from. */
export const PLOT_RIGHT = WIDTH - 132;

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

/** A contestant's line, in SVG units. */
export interface DrawnLine {
  readonly who: string;
  readonly colour: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Lines with their names behind their ends, which make room for each other. */
export function namedLines(lines: readonly DrawnLine[], nameX: number): string {
  const endOf = ({ points }: DrawnLine): number => points.at(-1)?.[1] ?? 0;
  let nameY = Number.NEGATIVE_INFINITY;
  return lines
    .toSorted((a, b) => endOf(a) - endOf(b))
    .map((line) => {
      nameY = Math.max(endOf(line) + 4, nameY + NAME_GAP);
      const path = line.points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
      const name = escapeHtml(line.who);
      const text = `<text class="name ${line.colour}" x="${nameX}" y="${nameY.toFixed(1)}">${name}</text>`;
      return `<polyline class="line ${line.colour}" points="${path}"><title>${name}</title></polyline>${text}`;
    })
    .join("");
}
