/**
 * Limits of reading: what is taken from one connection at a time, and how long publishers are held
 * back. Milliseconds of a turn that reading may take stand in turn-limits.ts.
 */

import { PACKET_BYTES_MAX } from "../../protocol/limits.ts";

/**
 * Packets read from one connection in one turn, so that no sender starves the others. Small ones
 * leave together at the end of the turn. Measured against 8 with one message a packet: 1.3 times
 * the rate (docs/performance.md).
 */
export const PACKETS_PER_TURN = 32;

/**
 * Bytes read from one connection in one turn; the packet that reaches it is the last, or the last of
 * those that were received together with it.
 */
export const BYTES_PER_TURN = 8 * PACKET_BYTES_MAX;

/** Small packets of one connection after which the broker looks at the clock. Looking takes 0.04 us. */
export const PACKETS_PER_LOOK = 8;

/**
 * Packets behind one of up to so many bytes are received several at a time. Guess: each has a buffer of
 * its own there, and large ones in one buffer are found in the processor's cache.
 */
export const AHEAD_OF_BYTES_MAX = 2_048;

/**
 * Milliseconds after which a publisher that is held back is told so, at the next look: a reader that
 * is merely slow lets it go on before. Guess.
 */
export const HELD_TOLD_MS = 1_000;

/** Milliseconds between looks at subscribers that hold publishers back. */
export const STALL_LOOK_MS = 1_000;

/**
 * Milliseconds after which a subscriber that holds publishers back and takes nothing is closed, where
 * the policy says nothing else.
 */
export const STALL_LIMIT_MS = 10_000;

/**
 * Packets that are thrown away by one step from a connection being closed, so that its end is not a
 * reset: 30 us without fds.
 */
export const DISCARDED_PACKETS_PER_STEP = 32;

/** Fds with them after which the step ends as well, behind the packet that reaches it: 0.2 ms. */
export const DISCARDED_FDS_PER_STEP = 256;
