/** Limits of the figures that are kept. */

/** Users, and units, without a connection whose figures are kept apart. Guess: days of a desktop. */
export const FOLDED_SUMS_MAX = 1_024;
