/**
 * How the time of a turn is shared between users, and between those who are in and those who come.
 * Milliseconds of other work in a turn stand in limits.ts.
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

/** Small packets of one connection after which the broker looks at the clock. Looking takes 0.04 us. */
export const PACKETS_PER_LOOK = 8;

/**
 * Newcomers that are turned away before the door is shut, and milliseconds for which it is (a whole
 * one where the broker has nothing else to do). Each takes 20 us, so a crowd that comes again at once
 * gets about a seventh of a processor. The LISTEN_BACKLOG passes in a quarter of a second.
 */
export const TURNED_AWAY_AT_ONCE = 4;
export const DOOR_SHUT_MS = 0.5;
