/** What a long run at full load must not show. Pure. */

import { median } from "./results-table.ts";

/** What no pause may exceed. */
export const PAUSE_MS_MAX = 5;

/**
 * KiB by which memory may grow. In ten minutes at full load the collector's heap swings by 1 to 3 MiB;
 * a single byte lost with each hundredth message would be 24 MB in one minute, at 40 M a second.
 */
export const GROWTH_KIB_MAX = 16 * 1024;

/** Growth is told from the first tenth to the last, each by its median. */
const SHARE = 10;

/** How the memory was, KiB. NaN where nobody looked. */
export interface MemoryGrowth {
  readonly first: number;
  readonly last: number;
}

/** @param rssKib samples of one run, in their order */
export function memoryGrowth(rssKib: readonly number[]): MemoryGrowth {
  const part = Math.max(1, Math.floor(rssKib.length / SHARE));
  return { first: median(rssKib.slice(0, part)), last: median(rssKib.slice(-part)) };
}

/** @returns one sentence for each thing that is wrong; none where all is well */
export function enduranceFaults(pausesMs: readonly number[], memory: MemoryGrowth): string[] {
  const longer = pausesMs.filter((pause) => pause > PAUSE_MS_MAX).length;
  const grownKib = memory.last - memory.first;
  return [
    ...(longer > 0 ? [`${longer} pauses were longer than ${PAUSE_MS_MAX} ms`] : []),
    ...(Number.isNaN(grownKib) ? ["Nobody looked at the memory: let it run for longer"] : []),
    ...(grownKib > GROWTH_KIB_MAX
      ? [`The memory grew by ${mib(grownKib)} MiB, more than ${mib(GROWTH_KIB_MAX)}`]
      : []),
  ];
}

/** KiB as MiB. */
export function mib(kib: number): string {
  return (kib / 1024).toFixed(1);
}
