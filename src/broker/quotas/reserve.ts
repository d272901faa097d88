/**
 * What all users share, kept from running out for those who hold little: a few users with all that
 * each of them may have could otherwise take the whole of it, and nobody else could even connect.
 *
 *     all users together   ├──────────────────────── 7/8 ─────────────────────────┤── 1/8 ──┤
 *                            whoever comes                                           the modest
 *
 * Pure.
 */

/** One part in so many of a limit of all users is for modest ones. Guess. */
const RESERVED_SHARE = 8;

/**
 * A user who holds less than this is modest. Guesses: a login session; as many programs with some
 * dozen subscriptions each; a service with its figures.
 */
export const MODEST = { connections: 16, subscriptions: 1_024, retained: 256 } as const;

/**
 * What all users together may hold, as it is for one of them.
 * @param limit of all users
 * @param own what this user holds
 * @param modest see MODEST
 */
export function limitOfAllFor(limit: number, own: number, modest: number): number {
  return own < modest ? limit : limit - Math.floor(limit / RESERVED_SHARE);
}
