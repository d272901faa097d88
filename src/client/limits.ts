/** Limits of the client library: each with its unit, and why it is what it is. */

import {
  BODY_PREFIX_BYTES,
  LARGE_BODY_BYTES_MAX,
  MESSAGE_BODY_BYTES_MAX,
  MESSAGE_FDS_MAX,
  STREAM_CREDIT_START,
} from "../protocol/limits.ts";

/** Milliseconds that connect() waits for the broker's answer unless told otherwise. */
export const CONNECT_TIMEOUT_MS_DEFAULT = 5_000;

/** Milliseconds that flush() waits for the broker's confirmation unless told otherwise. */
export const FLUSH_TIMEOUT_MS_DEFAULT = 30_000;

/**
 * Topics that one bus keeps open for publishing; then the half that was used longest ago is closed.
 * Half of what the broker lets one connection have, where its user has no other.
 */
export const OPEN_TOPICS_MAX = 4_096;

/**
 * Services that one bus keeps open for calls; then one that was not called for long is closed. With the
 * topics this leaves a quarter of what a connection may have for services that it serves or watches.
 */
export const OPEN_SERVICES_MAX = 2_048;

/** Milliseconds that close() waits for unsent messages to leave. */
export const CLOSE_DRAIN_MS = 1_000;

/** Milliseconds between looks at the socket during the handshake, after the first eager ones. */
export const HANDSHAKE_POLL_MS = 1;

/** Eager looks at the socket during the handshake, one a turn of the event loop. */
export const HANDSHAKE_EAGER_POLLS = 200;

/**
 * Bytes that publish() may hold while the broker reads more slowly than the program writes. Beyond
 * it nothing more is taken. Guess: one of the largest messages, and as much besides.
 */
export const OUTBOUND_BYTES_MAX = 2 * LARGE_BODY_BYTES_MAX;

/** From this many held bytes on publish() returns false: a hint to `await bus.flush()`. */
export const OUTBOUND_BYTES_HIGH = 1024 * 1024;

/** Empty packet buffers kept for the next burst: 1 MiB. */
export const SPARE_BUFFERS_KEPT = 16;

/**
 * Messages that wait in one subscription, for the iterator or for callbacks to finish, and callbacks
 * that are unfinished at a time, unless told otherwise.
 */
export const SUBSCRIPTION_MESSAGES_MAX_DEFAULT = 65_536;

/**
 * The same in a queue group: what waits here is not done by members that are free. Guess: more than
 * one packet of small messages would be no use to a member that takes long for each.
 */
export const GROUP_MESSAGES_MAX_DEFAULT = 256;

/**
 * Bytes of bodies that wait in one subscription, and as many with unfinished callbacks, unless told
 * otherwise. Guess: four of the largest.
 */
export const SUBSCRIPTION_BYTES_MAX_DEFAULT = 4 * LARGE_BODY_BYTES_MAX;

/**
 * Bytes of messages, with their headers, that a full subscription with `block` still takes while an
 * answer is awaited. What stands before the answer when the broker hears PAUSE is no more than its
 * queue (4 MiB) and the socket; so this is nearly twice as much.
 */
export const BEYOND_FULL_BYTES = 8 * 1024 * 1024;

/** The same for large bodies: what the broker's queue for one client holds. */
export const BEYOND_FULL_MEMORY_BYTES = 4 * LARGE_BODY_BYTES_MAX;

/**
 * Milliseconds for which a program may take nothing of a subscription that keeps answers from being
 * read. Guess: as long as most answers are waited for.
 */
export const STANDSTILL_MS = 30_000;

/** Milliseconds after which a paused broker is told again that the program is at work. See PAUSE. */
export const PAUSE_REPEAT_MS = 1_000;

/**
 * Topics whose losses are counted apart in one place; beyond it the gap speaks of several topics.
 * As many as the broker names.
 */
export const GAP_TOPICS_MAX = 64;

/** Places that superseded messages leave in a subscription's queue before it is tidied. */
export const EMPTY_PLACES_KEPT = 1_024;

/**
 * Large bodies of this many bytes or less are copied when they are read, others mapped. Measured,
 * reading every byte, copied and mapped: 64 KiB 8 and 20 us, 256 KiB 18 and 31 us, 4 MiB 0.41 and
 * 0.40 ms; not reading, 256 KiB 16 and 5 us. So up to here a copy costs little at worst.
 */
export const LARGE_COPY_BYTES_MAX = 128 * 1024;

/** Unread large bodies that one process holds by an fd. Guess: few beside RLIMIT_NOFILE. */
export const BODY_FDS_HELD_MAX = 64;

/** Bytes of a piece of a received file; a multiple of 3, so that base64 needs no padding inside. */
export const RECEIVED_PIECE_BYTES = 96 * 1024;

/** Bytes that ReceivedFd.bytes() and text() read unless told otherwise: as many as a body may have. */
export const RECEIVED_FILE_BYTES_MAX_DEFAULT = LARGE_BODY_BYTES_MAX;

/** Bytes of the largest mapping. Bun refuses larger ArrayBuffers, and memory must not stay mapped then. */
export const MAPPING_BYTES_MAX = 4 * 1024 * 1024 * 1024;

/** Status events that wait for one iterator; the oldest are dropped beyond it, and counted. Guess. */
export const STATUS_EVENTS_MAX = 256;

/** Milliseconds that call() waits for a reply, and callStream() for its next part, by default. */
export const CALL_TIMEOUT_MS_DEFAULT = 30_000;

/** Milliseconds that waitFor() waits for a service unless told otherwise. */
export const SERVICE_TIMEOUT_MS_DEFAULT = 30_000;

/** Milliseconds of the longest time-out that the wire can name: u32, some 49 days. */
export const TIMEOUT_MS_MAX = 0xffff_ffff;

/** Milliseconds of the longest timer of the runtime: setTimeout() takes an i32. */
export const TIMER_MS_MAX = 0x7fff_ffff;

/** Parts of a stream that were read before the service is given credit for as many: half of what it starts with. */
export const STREAM_CREDIT_STEP = STREAM_CREDIT_START / 2;

/** Characters of an error's text that a service sends, and that a caller takes. */
export const FAILURE_MESSAGE_LENGTH_MAX = 1_000;

/** Characters of an error's code that a caller takes. */
export const FAILURE_CODE_LENGTH_MAX = 100;

/** Messages of a channel that wait for the iterator before its socket is read no more. */
export const CHANNEL_MESSAGES_HIGH = 1_024;

/** Bytes of such messages, large bodies included. One packet more may come, and one large body. */
export const CHANNEL_BYTES_HIGH = 1024 * 1024;

/** What a received file counts as in these: some 256 that nobody reads stop the socket. */
export const CHANNEL_FD_BYTES = 4_096;

/**
 * Bytes of requests that wait for a handler. One user alone may have half of it: any request fits then,
 * however large.
 */
export const SERVICE_WAITING_BYTES_MAX = 2 * (LARGE_BODY_BYTES_MAX + 1024 * 1024);

/**
 * Milliseconds that handlers run in a turn of the event loop before more is read. Guess: longer than
 * most handlers compute, and shorter than anybody notices.
 */
export const HANDLERS_PER_TURN_MS = 2;

/** Milliseconds without a handler after which the event loop must have turned. Guess. */
export const HANDLERS_IDLE_MS = 0.2;

/** Files of such requests: of one user alone four full messages. */
export const SERVICE_WAITING_FDS_MAX = 8 * MESSAGE_FDS_MAX;

/** Files of a channel that nobody has read at most: four full messages. */
export const CHANNEL_FDS_MAX = 4 * MESSAGE_FDS_MAX;

/** Milliseconds until the lane of a channel is tried again: Bun does not watch it. First and longest. */
export const LANE_RETRY_MS_FIRST = 1;
export const LANE_RETRY_MS_MAX = 64;

/** Bytes of the largest body that a REQUEST or RETAIN frame has room for, behind its prefix. */
export const PREFIXED_BODY_BYTES_MAX = MESSAGE_BODY_BYTES_MAX - BODY_PREFIX_BYTES;

/** Milliseconds within which the first attempt to connect again comes. Guess: a quick restart. */
export const RECONNECT_MS_FIRST = 50;

/** Milliseconds between two such attempts at most. Guess: nobody minds it on top of a long outage. */
export const RECONNECT_MS_MAX = 5_000;

/** Milliseconds that a request waits for a lost connection to come back, before it is rejected. */
export const DISCONNECTED_REQUEST_MS = 30_000;

/** Subscriptions asked for at a time when a connection is new. The broker holds as many answers. */
export const RESTORE_BATCH = 512;

/**
 * What a message that is kept counts as beside its body: the object around it. Measured with a
 * million of 8 bytes.
 */
export const KEPT_MESSAGE_BYTES = 256;

/** Milliseconds that drain() takes at most unless told otherwise. */
export const DRAIN_TIMEOUT_MS_DEFAULT = 30_000;
