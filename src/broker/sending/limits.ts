/** Limits of send queues: what waits for one client, for one user and for all, and how it leaves. */

import { assert } from "../../assert.ts";
import {
  FRAME_ALIGNMENT_BYTES,
  LARGE_BODY_BYTES_MAX,
  MESSAGE_FDS_MAX,
  PACKET_BYTES_MAX,
} from "../../protocol/limits.ts";

/** Bytes waiting for one slow connection. Beyond it messages are dropped and told by a GAP. */
export const SEND_QUEUE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * After a drop the queue takes messages again once it is this far down, so that a slow reader gets
 * few long gaps and not one gap after each message.
 */
export const SEND_QUEUE_BYTES_RESUME = SEND_QUEUE_BYTES_MAX / 2;

/**
 * From so many waiting bytes on, publishers are held back for a subscriber that asked for "block",
 * until no more than SEND_QUEUE_BYTES_RESUME wait. Below SEND_QUEUE_BYTES_MAX, so that what was
 * taken before, and messages of other topics, still fit.
 */
export const SEND_QUEUE_BYTES_HOLD = (SEND_QUEUE_BYTES_MAX / 4) * 3;

/** Bytes beyond SEND_QUEUE_BYTES_MAX that control frames may still use; then the client is evicted. */
export const SEND_QUEUE_CONTROL_BYTES_MAX = 256 * 1024;

/** Fds waiting for one slow connection. Guess: four full messages. */
export const SEND_QUEUE_FDS_MAX = 1_024;

/** As SEND_QUEUE_BYTES_RESUME, and _HOLD. */
export const SEND_QUEUE_FDS_RESUME = SEND_QUEUE_FDS_MAX / 2;
export const SEND_QUEUE_FDS_HOLD = SEND_QUEUE_FDS_MAX - 256;

/**
 * Bytes of large bodies waiting for one slow connection. The memory is the senders', so a reader
 * that stops must not keep much of it; but any one body fits an empty queue. Guess: four of the
 * largest.
 */
export const SEND_QUEUE_MEMORY_BYTES_MAX = 4 * LARGE_BODY_BYTES_MAX;

/** After a drop the queue takes messages again once no more of that waits. */
export const SEND_QUEUE_MEMORY_BYTES_RESUME = SEND_QUEUE_MEMORY_BYTES_MAX / 2;

/** As SEND_QUEUE_BYTES_HOLD; one more body of any size still fits. */
export const SEND_QUEUE_MEMORY_BYTES_HOLD = SEND_QUEUE_MEMORY_BYTES_MAX - LARGE_BODY_BYTES_MAX;

/**
 * Bytes that a queue must have taken since old messages were dropped from it, before that is done
 * again: going through a full queue takes about 2 ms, so a message must not bear it alone.
 */
export const COMPACTION_BYTES_MIN = SEND_QUEUE_BYTES_MAX / 16;

/** Where less was left, one such part of that is enough: less is to be gone through, too. */
export const COMPACTION_SHARE = 8;

/** Of each topic the newest message stays as long as no more than this waits; then the oldest goes. */
export const LATEST_BYTES_KEPT = (SEND_QUEUE_BYTES_MAX / 4) * 3;

/** Topics whose losses are counted apart in one gap; beyond it the gap speaks of several topics. */
export const GAP_TOPICS_MAX = 64;

/**
 * Bytes that wait for slow connections of one uid, where the policy says nothing else: thirty stalled
 * ones, with full queues. One alone gets half of it, far more than its queue may hold.
 */
export const QUEUED_BYTES_PER_UID_MAX = 128 * 1024 * 1024;

/**
 * Bytes that wait for slow connections of all uids together: eight users who do their worst. A uid
 * gets half of what the others leave free, so that there is always some left for the next.
 */
export const BACKLOG_BYTES_MAX = 8 * QUEUED_BYTES_PER_UID_MAX;

/** Free packets kept for the next burst instead of being left to the garbage collector: 8 MiB. */
export const FREE_PACKETS_KEPT = 128;

/**
 * Messages with fds wait in packets of their own. Those of up to so many bytes come from a pool, since
 * making one takes longer than all else that is done for a message that waits. Guess: most are short.
 */
export const SMALL_PACKET_BYTES = 1_024;

/** The same of these: 256 KiB, enough for a turn of eight busy clients. */
export const FREE_SMALL_PACKETS_KEPT = 256;

/**
 * Fds that wait for one client before they are sent within a turn, in which more may follow. As many
 * messages of one fd as leave by one call (RECORDS_TOGETHER_MAX).
 */
export const FDS_WAITING_TOGETHER = 32;

/** The same as FDS_WAITING_TOGETHER for bytes of large bodies: one of any size still fits. */
export const MEMORY_WAITING_TOGETHER = LARGE_BODY_BYTES_MAX;

/**
 * Runs of this many bytes or more go out straight from the receive buffer. Shorter ones are copied
 * into a packet that the next run may join: a copy of 32 KiB costs a tenth of the send that it
 * saves. Measured against 4,096 with 32 KiB packets to 16 (docs/performance.md): 1.3 times the rate.
 */
export const DIRECT_SEND_BYTES_MIN = PACKET_BYTES_MAX / 2 + FRAME_ALIGNMENT_BYTES;

/** Connections with unsent frames in one turn; at this many they are flushed early. */
export const UNFLUSHED_CONNECTIONS_MAX = 256;

/**
 * SO_SNDBUF of each accepted socket: bytes the kernel queues for one client before EAGAIN. Root
 * gets it in any case (SO_SNDBUFFORCE), others up to net.core.wmem_max.
 */
export const SOCKET_SEND_BUFFER_BYTES = 1024 * 1024;

assert(SEND_QUEUE_BYTES_MAX >= 2 * PACKET_BYTES_MAX, "a queue holds more than one packet");
assert(
  SEND_QUEUE_BYTES_HOLD + PACKET_BYTES_MAX <= SEND_QUEUE_BYTES_MAX,
  "what is routed before publishers are held back fits",
);
assert(SEND_QUEUE_FDS_HOLD + MESSAGE_FDS_MAX <= SEND_QUEUE_FDS_MAX, "so do the fds of a message");
assert(
  FDS_WAITING_TOGETHER + MESSAGE_FDS_MAX < SEND_QUEUE_FDS_HOLD,
  "no publisher is held back for fds that wait for each other",
);
assert(
  MEMORY_WAITING_TOGETHER + LARGE_BODY_BYTES_MAX <= SEND_QUEUE_MEMORY_BYTES_HOLD,
  "nor for large bodies",
);
assert(SEND_QUEUE_BYTES_RESUME < SEND_QUEUE_BYTES_HOLD, "holding back does not end at once");
assert(SEND_QUEUE_MEMORY_BYTES_MAX >= LARGE_BODY_BYTES_MAX, "any body fits an empty queue");
assert(SEND_QUEUE_CONTROL_BYTES_MAX >= PACKET_BYTES_MAX, "any control frame fits the reserve");
assert(DIRECT_SEND_BYTES_MIN <= PACKET_BYTES_MAX, "a full packet may go out directly");
