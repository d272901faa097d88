/** Limits of the door: how many come at once, who waits before it, and for how long it is shut. */

/** Pending connections in the kernel; net.core.somaxconn caps it. */
export const LISTEN_BACKLOG = 1_024;

/** Milliseconds without accepting after the process or system ran out of fds or memory. */
export const ACCEPT_PAUSE_MS = 100;

/** Newcomers of one uid that are let in as they come, if it has been quiet before. Guess: a login. */
export const NEWCOMERS_AT_ONCE = 512;

/**
 * Newcomers of one uid in a second, in the long run; others wait. What is done for one of them holds
 * up everybody for 0.1 ms, so a crowd costs others 1.3 % of their time at most. Somebody who starts
 * a program for each message gets to half of it on two cores.
 */
export const NEWCOMERS_PER_SECOND = 128;

/** Newcomers of one uid that wait, for two seconds at most; more are turned away. */
export const NEWCOMERS_WAITING_MAX = 2 * NEWCOMERS_PER_SECOND;

/**
 * Newcomers of all users that wait, at most: one of so many of the connections that the broker has
 * files for. They are beyond the quotas, which are asked when they are let in.
 */
export const NEWCOMERS_WAITING_SHARE = 8;

/** Users who came lately; above it those are forgotten who have been quiet. Guess. */
export const NEWCOMERS_KNOWN_MAX = 1_024;

/** Newcomers that are turned away and have so much to be thrown away that it takes more steps. */
export const TURNED_AWAY_MAX = 16;

/**
 * Newcomers that are turned away before the door is shut, and milliseconds for which it is (a whole
 * one where the broker has nothing else to do). Each takes 20 us, so a crowd that comes again at once
 * gets about a seventh of a processor. The LISTEN_BACKLOG passes in a quarter of a second.
 */
export const TURNED_AWAY_AT_ONCE = 4;
export const DOOR_SHUT_MS = 0.5;
