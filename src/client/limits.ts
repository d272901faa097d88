/** Limits of the client library: each with its unit, and why it is what it is. */

/** Milliseconds that connect() waits for the broker's answer unless told otherwise. */
export const CONNECT_TIMEOUT_MS_DEFAULT = 5_000;

/** Milliseconds that flush() waits for the broker's confirmation unless told otherwise. */
export const FLUSH_TIMEOUT_MS_DEFAULT = 30_000;

/** Milliseconds that close() waits for unsent messages to leave. */
export const CLOSE_DRAIN_MS = 1_000;

/** Milliseconds between looks at the socket during the handshake, after the first eager ones. */
export const HANDSHAKE_POLL_MS = 1;

/** Eager looks at the socket during the handshake, one a turn of the event loop. */
export const HANDSHAKE_EAGER_POLLS = 200;

/** Bytes that publish() may hold while the broker reads more slowly than the program writes. */
export const OUTBOUND_BYTES_MAX = 64 * 1024 * 1024;

/** From this many held bytes on publish() returns false: a hint to `await bus.flush()`. */
export const OUTBOUND_BYTES_HIGH = 1024 * 1024;

/** Empty packet buffers kept for the next burst: 1 MiB. */
export const SPARE_BUFFERS_KEPT = 16;

/** Messages that wait in one subscription for the iterator, unless told otherwise. */
export const SUBSCRIPTION_MESSAGES_MAX_DEFAULT = 65_536;

/** Status events that wait for one iterator; the oldest are dropped beyond it. */
export const STATUS_EVENTS_MAX = 256;
