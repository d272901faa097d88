/** Limits of what is kept about who clients are. */

/**
 * Identities that are kept to be shared by later connections of the same process. Enough for the
 * processes that connect again and again; what a process beyond them costs is memory alone.
 * Guess, untuned.
 */
export const POOLED_IDENTITIES_MAX = 256;
