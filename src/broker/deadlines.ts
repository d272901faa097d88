/**
 * Deadlines on the broker's clock. Most of the time nothing is awaited, and then the clock is not
 * read: a turn of one small message would spend a twentieth of its time on that.
 */

/** The deadline of what is not awaited. */
export const NEVER = Number.POSITIVE_INFINITY;

/**
 * Whether a deadline has come.
 * @param deadline milliseconds, or NEVER
 * @param now the clock, monotonic
 */
export function isDue(deadline: number, now: () => number): boolean {
  return deadline !== NEVER && deadline <= now();
}
