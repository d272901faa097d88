/** Tables, sizes and times for people. Pure. */

import { printable } from "./printable-text.ts";

const STEP = 1024;
const SIZE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** From the largest on: name and milliseconds. */
const TIME_UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** A cell: numbers stand to the right, text to the left; undefined stays empty. */
export type Cell = string | number | undefined;

/**
 * Lines with aligned columns, the header first.
 * @param headers one for each column
 * @param rows with as many cells
 */
export function tableLines(
  headers: readonly string[],
  rows: readonly (readonly Cell[])[],
): string[] {
  const isNumeric = headers.map((_header, column) =>
    rows.some((row) => typeof row[column] === "number" || isSize(row[column])),
  );
  const texts = [headers, ...rows.map((row) => headers.map((_header, at) => cellText(row[at])))];
  const widths = headers.map((_header, column) =>
    Math.max(...texts.map((row) => (row[column] ?? "").length)),
  );
  return texts.map((row) =>
    row
      .map((text, column) => {
        const width = widths[column] ?? 0;
        return isNumeric[column] === true ? text.padStart(width) : text.padEnd(width);
      })
      .join("  ")
      .trimEnd(),
  );
}

/** `0 B`, `17 KiB`, `2.5 MiB`: three digits at most before the unit. */
export function sizeWords(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= STEP && unit < SIZE_UNITS.length - 1) {
    value /= STEP;
    unit += 1;
  }
  const isShort = unit > 0 && value < 10;
  return `${isShort ? value.toFixed(1) : Math.floor(value)} ${SIZE_UNITS[unit]}`;
}

/** `0s`, `59s`, `2m 5s`, `3h 0m`, `12d 4h`: the two largest units. */
export function timeWords(milliseconds: number): string {
  const largest = TIME_UNITS.findIndex(([, size]) => milliseconds >= size);
  if (largest < 0) return "0s";
  const shown = TIME_UNITS.slice(largest, largest + 2);
  let rest = milliseconds;
  return shown
    .map(([name, size]) => {
      const count = Math.floor(rest / size);
      rest -= count * size;
      return `${count}${name}`;
    })
    .join(" ");
}

function isSize(cell: Cell): boolean {
  return typeof cell === "string" && /^[0-9.]+ ([KMGT]i)?B$/.test(cell);
}

function cellText(cell: Cell): string {
  return cell === undefined ? "" : printable(String(cell));
}
