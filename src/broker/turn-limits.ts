/**
 * How the time of a turn is shared: between users, between those who are in and those who come, and
 * with work in the background.
 */

/**
 * Milliseconds of one turn spent on what one user's connections say, while others wait for theirs. Two
 * users who send as fast as they can take turns of that length, and whoever says little waits for one
 * of them at most, but for COSTLY_MS_PER_TURN: less than that would be spent on taking what is left of
 * a packet apart anew, a millisecond for one of nothing but requests.
 */
export const READING_MS_PER_USER = 0.1;

/** The same where one user alone is connected: no more than BYTES_PER_TURN of one connection take. */
export const READING_MS_ALONE = 2;

/**
 * Milliseconds of one turn spent on costly work: routes to be computed, requests, wide fan-out. One
 * packet may hold seconds of it (measured: 21 s, for 4,000 new topics to 1,000 subscribers); what
 * is left of it waits for the next turns. More than a share of a turn, which its user then owes.
 */
export const COSTLY_MS_PER_TURN = 2;

/**
 * Milliseconds of one turn spent on those who come and those who go: letting in, welcoming, closing.
 * Each takes 10 to 50 us, and the first of each is done whatever it takes (closing one that a thousand
 * others heard of: 2.5 ms). Everybody else waits meanwhile, also where thousands come or die at once.
 */
export const COMINGS_AND_GOINGS_MS_PER_TURN = 0.05;

/** Milliseconds of one turn spent on work in the background, such as a reload of the policy. */
export const BACKGROUND_MS_PER_TURN = 0.1;

/** Milliseconds of one turn spent on giving last values to new subscribers. */
export const REPLAY_MS_PER_TURN = 0.1;

/** Milliseconds of one turn spent on letting go of last values whose time is up. */
export const EXPIRY_MS_PER_TURN = 0.1;

/**
 * Entries of one connection (subscriptions, topics, services, calls) that are worked off in one step
 * when it ends, and when its rights are decided anew after a reload: 1 to 5 us each.
 */
export const ENTRIES_PER_STEP = 64;
