/** Limits of closing fds that may hang, and of the threads that do it. */

import { assert } from "../../assert.ts";

/**
 * Fds of one uid's that may be closing at a time, or a quarter of what the broker may open where that
 * is less. Then nothing more is read from it, and where none of them is closed for CLOSE_STUCK_MS its
 * connections are ended. Guess: four full messages.
 */
export const FDS_CLOSING_PER_UID_MAX = 1_024;

/** Threads that close fds, each for one uid at a time: so many uids may hang at once. 4.5 MiB each. */
export const CLOSING_LANES_MAX = 4;

/** Fds that such a thread is given at a time, a power of two. Then another uid has its turn. */
export const CLOSING_RING_FDS = 256;

/** Milliseconds after which a uid that waits for such a thread is thought of again. */
export const CLOSING_LOOK_MS = 20;

/** Milliseconds until a thread is started again that could not be, for want of fds or memory. */
export const CLOSING_RETRY_MS = 100;

/** Milliseconds without progress after which a close is said to hang. */
export const CLOSE_STUCK_MS = 1_000;

/**
 * Milliseconds that closing a file may take before it counts against the `fds` of its user. A close
 * takes 20 to 60 us on its thread, so 1,024 of one user are done long before; while they are not,
 * they count among the files that the broker has open, as always. Guess.
 */
export const CLOSING_GRACE_MS = 500;

/** Milliseconds that a clean shutdown waits for closes that may hang. */
export const CLOSING_DRAIN_MS = 250;

/**
 * Fds kept open on nothing for starting threads. A thread of the published package takes 3 for a
 * moment, and keeps 2. From the sources each core may read two files at a time; with more than four
 * cores such a thread may fail to start, and is started again later. Measured (strace).
 */
export const THREAD_START_FDS = 12;

/** With fewer of them no thread is started. */
export const THREAD_START_FDS_MIN = 4;

/** Where so many fds can be opened, threads are started without those. They fit FDS_RESERVED. */
export const THREAD_START_ROOM_FDS = 2 * THREAD_START_FDS;

/** Milliseconds that the broker waits for a thread to come up, where it has few fds. Guess: 25 to 130. */
export const THREAD_START_WAIT_MS = 2_000;

assert(CLOSING_GRACE_MS <= CLOSE_STUCK_MS, "what is said to hang is charged");
assert((CLOSING_RING_FDS & (CLOSING_RING_FDS - 1)) === 0, "the ring wraps around with its counts");
