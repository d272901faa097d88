/** Figures of stretches of time, from samples of something that grows. Pure. */

import { median } from "./results-table.ts";
import type { TimedStretch } from "./work-order.ts";

/** Something that grows, as it was at one moment. */
export interface Sample {
  /** By wallClockMs(). */
  readonly at: number;
  readonly value: number;
}

/** How long a stretch lasted. */
export function millisecondsOf({ from, to }: TimedStretch): number {
  return to - from;
}

/** How much something grew in a stretch of time. */
export function growth(samples: readonly Sample[], { from, to }: TimedStretch): number {
  return valueAt(samples, to) - valueAt(samples, from);
}

/** A figure of stretches of one kind by that of another, each with its neighbour in time; the median. */
export function medianRatio(
  stretches: readonly TimedStretch[],
  kinds: { of: TimedStretch["kind"]; to: TimedStretch["kind"] },
  figure: (stretch: TimedStretch) => number,
): number {
  const [own = [], other = []] = [kinds.of, kinds.to].map((wanted) =>
    stretches.filter(({ kind }) => kind === wanted).map(figure),
  );
  return median(own.map((value, index) => value / (other[index] ?? Number.NaN)));
}

/** Between the two samples around a moment, as if it grew evenly; NaN where there are none. */
function valueAt(samples: readonly Sample[], at: number): number {
  const index = samples.findIndex((sample) => sample.at >= at);
  const before = samples[index - 1];
  const after = samples[index];
  if (before === undefined || after === undefined) return Number.NaN;
  const share = (at - before.at) / (after.at - before.at);
  return before.value + (after.value - before.value) * share;
}
