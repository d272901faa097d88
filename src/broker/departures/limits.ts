/** Limits of the end: of the last word to one connection, and of the goodbye to all. */

/**
 * Bytes of a socket's buffer that are kept for telling a client that does not read why it is closed.
 * A full socket may hold one packet more than its buffer, so doubled, as the kernel does with all
 * these figures, it is more than the largest packet takes.
 */
export const LAST_WORD_BYTES = 40 * 1024;

/** Milliseconds that a clean shutdown waits for clients to take what is queued for them. */
export const SHUTDOWN_DRAIN_MS = 1_000;
