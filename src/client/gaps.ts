/**
 * Messages that are missing, as data, and lists of such gaps: one entry for each topic and reason,
 * and a bounded number of them. Knows nothing of where they are missing; that is message-queue.ts's.
 */

import { GAP_TOPICS_MAX } from "./limits.ts";
import type { GapReason } from "./status.ts";

/** Messages that are missing in one place. */
export interface Gap {
  /** Undefined: on several topics. */
  readonly topic: string | undefined;
  /** Undefined: nobody knows how many. */
  readonly count: number | undefined;
  /** Where and why they were lost. */
  readonly reason: GapReason;
}

/** A gap that still grows. */
export interface GrowingGap {
  readonly topic: string | undefined;
  count: number | undefined;
  readonly reason: GapReason;
}

/** Adds a gap to a list; its like grows, and beyond GAP_TOPICS_MAX topics it goes without its name. */
export function addGap(gaps: GrowingGap[], { topic, count, reason }: Gap): void {
  countGap(gaps, topic, reason, count);
}

/** The same without an object for each message. @param count undefined where nobody knows */
export function countGap(
  gaps: GrowingGap[],
  topic: string | undefined,
  reason: GapReason,
  count: number | undefined,
): void {
  const known = find(gaps, topic, reason);
  if (known !== undefined) grow(known, count);
  else if (topic === undefined || gaps.length < GAP_TOPICS_MAX) gaps.push({ topic, count, reason });
  else countGap(gaps, undefined, reason, count);
}

function find(
  gaps: readonly GrowingGap[],
  topic: string | undefined,
  reason: GapReason,
): GrowingGap | undefined {
  // The last one first: losses come in bursts.
  for (let at = gaps.length - 1; at >= 0; at -= 1) {
    const gap = gaps[at];
    if (gap?.topic === topic && gap?.reason === reason) return gap;
  }
  return undefined;
}

function grow(gap: GrowingGap, count: number | undefined): void {
  gap.count = gap.count === undefined || count === undefined ? undefined : gap.count + count;
}
