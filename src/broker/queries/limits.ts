/** Limits of answers about the broker. */

/** Bytes of JSON in one answer to QUERY; a longer one has several. Far below the control reserve. */
export const QUERY_ANSWER_BYTES_MAX = 16 * 1024;

/** Entries looked at for one answer to QUERY, those that it does not tell of included. */
export const QUERY_ENTRIES_PER_LOOK = 2_048;

/** Subscribers that are told of those who hold one publisher back: a route may have thousands. */
export const HOLDERS_TOLD_MAX = 16;
