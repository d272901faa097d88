/**
 * The words that stand for a choice, the same on the wire, in the policy, in the library and on the
 * command line.
 */

/** What happens to messages that a subscriber does not read in time. */
export const OVERFLOW_POLICIES = [
  "drop-oldest",
  "drop-newest",
  "latest-per-topic",
  "disconnect",
  "block",
] as const;

/** One of OVERFLOW_POLICIES. */
export type OverflowPolicy = (typeof OVERFLOW_POLICIES)[number];

/** What SERVE does where the service has an owner: wait behind it, fail, or take its place. */
export const IF_OWNED_CHOICES = ["queue", "fail", "replace"] as const;

/** One of IF_OWNED_CHOICES. */
export type IfOwned = (typeof IF_OWNED_CHOICES)[number];

/** What QUERY can ask for. */
export const QUERY_SUBJECTS = [
  "stats",
  "clients",
  "client",
  "services",
  "topics",
  "subscriptions",
] as const;

/** One of QUERY_SUBJECTS. */
export type QuerySubject = (typeof QUERY_SUBJECTS)[number];
