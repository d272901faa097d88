/** The points at which a distribution is kept: closer to each other the rarer a time is. Pure. */

/** Steps from one nine to the next: from 0.9 to 0.99. */
const STEPS_A_NINE = 10;

/** 0.9999 is the last point. */
const NINES = 4;

/** How far to the right a share stands in a plot: 0 at 0, 1 at 0.9, 2 at 0.99. */
export function ninesOf(share: number): number {
  return -Math.log10(1 - share);
}

/** Shares of all rounds, from none to 0.9999, at even distances by ninesOf(). */
export const QUANTILE_SHARES: readonly number[] = Array.from(
  { length: NINES * STEPS_A_NINE + 1 },
  (_, step) => 1 - 10 ** (-step / STEPS_A_NINE),
);

/** Fewer rare samples say what this run was like, and not what runs are like. */
const SAMPLES_BEYOND_MIN = 10;

/** What is lost of a share close to 1 must not decide. */
const ROUNDING = 1e-6;

/** Whether enough samples are beyond a share for their quantile to be told. */
export function isTold(samples: number, share: number): boolean {
  return samples * (1 - share) + ROUNDING >= SAMPLES_BEYOND_MIN;
}

/**
 * The value that a share of all is not above.
 * @param sorted from the least to the greatest
 * @returns 0 of none
 */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
