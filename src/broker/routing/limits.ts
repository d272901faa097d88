/** Limits of topics and subscriptions, and of what routing one packet may cost at a time. */

/** Topics at a time in one broker. */
export const TOPICS_MAX = 262_144;

/** Topics that one connection may hold open for publishing. */
export const TOPICS_PER_CONNECTION_MAX = 8_192;

/** Subscriptions at a time in one broker. */
export const SUBSCRIPTIONS_MAX = 1_048_576;

/** Subscriptions of one connection. The benchmark holds 100,000 on one. */
export const SUBSCRIPTIONS_PER_CONNECTION_MAX = 131_072;

/**
 * Queue groups that one connection may be in: of each it gets a copy of its own, so they multiply
 * what one message costs. Guess.
 */
export const GROUPS_PER_CONNECTION_MAX = 64;

/** Pairs of a topic and a queue group at a time in one broker: ids of the same kind as topics. */
export const GROUP_TOPICS_MAX = 262_144;

/**
 * Members of a queue group that are compared for each share of its messages, from the one on whose
 * turn it is: asking the kernel what one has not read costs 0.2 us.
 */
export const GROUP_CANDIDATES = 8;

/** Destinations served before the router looks at the clock again. Guess: a tenth of a millisecond. */
export const ROUTING_COST_PER_LOOK = 4_096;

/**
 * Messages of one packet that are too large whose sender is told so, one by one: a packet may hold
 * thousands, and the answers must fit the sender's queue. All are counted.
 */
export const REFUSALS_TOLD_PER_PACKET = 16;

/**
 * A message with fds for more receivers goes to all of them at once: each that waits takes a copy of the
 * frame. Guess; with 16, waiting gives 1.7 times the rate, since each is woken for many at once.
 */
export const FDS_TOGETHER_RECEIVERS_MAX = 64;
