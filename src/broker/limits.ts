/**
 * Limits of the broker as a whole: who may be connected, and when it sleeps. What belongs to one room
 * stands in the limits.ts of that room, what must fit one turn in turn-limits.ts, and what a client
 * must know too in src/protocol/limits.ts. Each has its unit, and why it is what it is.
 */

import { assert } from "../assert.ts";

/** Connections at a time, those before HELLO included. Guess: a large desktop has some hundred. */
export const CONNECTIONS_MAX = 8_192;

/**
 * Connections of one uid at a time, so that no user can lock the others out; half of them where the
 * broker may hold fewer than CONNECTIONS_MAX.
 */
export const CONNECTIONS_PER_UID_MAX = CONNECTIONS_MAX / 2;

/** Connections of one uid that have not said HELLO; one more evicts the oldest of them. */
export const AWAITING_HELLO_PER_UID_MAX = 64;

/**
 * Connections of administrators beyond all other limits, so that a full broker can still be asked
 * what is wrong. They fit FDS_RESERVED.
 */
export const ADMINISTRATORS_EXTRA_MAX = 8;

/** Milliseconds that a connection may take to say HELLO. */
export const HELLO_TIMEOUT_MS = 5_000;

/** Milliseconds between visits to the runtime's own event loop (signals, timers) when busy. */
export const RUNTIME_YIELD_INTERVAL_MS = 10;

/**
 * Milliseconds of a wait that is short: the broker stays awake for as long where it expects one. About
 * what it costs to go to sleep, and to be woken on another core.
 */
export const SHORT_WAIT_MS = 0.05;

/** Short waits in a row before the next one is expected to be short, too. Guess. */
export const SHORT_WAITS_BEFORE_WATCH = 4;

/**
 * Short waits that must follow one that was expected to be short and was not; twice as many after
 * each further one, up to the maximum.
 */
export const FAILED_WATCH_WAITS = 8;
export const FAILED_WATCH_WAITS_MAX = 1_024;

/** Waits in a row that were as short as expected, behind which one failure does not count. Guess. */
export const WATCHES_PER_FAILURE = 8;

/** Milliseconds that the reactor may sleep in the kernel when idle. */
export const IDLE_WAIT_MS = 1_000;

assert(FAILED_WATCH_WAITS <= FAILED_WATCH_WAITS_MAX, "a failure is never forgotten at once");
