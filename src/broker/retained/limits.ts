/** Limits of last values, and of giving them to new subscribers. */

import { assert } from "../../assert.ts";
import { MESSAGE_FDS_MAX, PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import { TOPICS_MAX } from "../routing/limits.ts";
import {
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
  SEND_QUEUE_FDS_MAX,
  SEND_QUEUE_MEMORY_BYTES_RESUME,
} from "../sending/limits.ts";

/**
 * Last values at a time in one broker. Each holds its topic, and half of the topics stay for those
 * that are only published on.
 */
export const RETAINED_MAX = TOPICS_MAX / 2;

/**
 * Last values of one uid, its connections that are gone included, where the policy says nothing else:
 * so no user has them all.
 */
export const RETAINED_PER_UID_MAX = RETAINED_MAX / 4;

/**
 * Bytes that a last value is charged for beside its frame, large body and name: what the tables hold
 * of it. Measured (30,000 values of 8 B, resident memory): 1,900.
 */
export const RETAINED_OVERHEAD_BYTES = 2_048;

/**
 * Last values are put into the queue of a new subscriber while no more than this waits there. It is
 * where a queue that was full takes messages again, so that a reader who is always behind with live
 * messages still gets them.
 */
export const REPLAY_QUEUE_BYTES_MAX = SEND_QUEUE_BYTES_RESUME;

/** The same for fds: any one message still fits. */
export const REPLAY_QUEUE_FDS_MAX = SEND_QUEUE_FDS_MAX - MESSAGE_FDS_MAX;

/** The same for bytes of large bodies. */
export const REPLAY_QUEUE_MEMORY_BYTES_MAX = SEND_QUEUE_MEMORY_BYTES_RESUME;

/** Topics that one subscriber is looked through before the next one's turn. */
export const REPLAY_STEPS_PER_LOOK = 64;

assert(REPLAY_QUEUE_BYTES_MAX + PACKET_BYTES_MAX <= SEND_QUEUE_BYTES_MAX, "a last value fits");
