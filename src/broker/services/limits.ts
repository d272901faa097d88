/** Limits of services and calls. What clients must know too stands in src/protocol/limits.ts. */

/** Services that one connection may serve, wait for or watch, without a policy's word. Guess. */
export const SERVICES_PER_CONNECTION_MAX = 4_096;

/**
 * Members of a shared service that a request is offered to, where those before have full queues.
 * Guess: who does not read collects unanswered requests and is not asked any more.
 */
export const MEMBERS_TRIED_MAX = 16;

/** Calls carried out before the broker looks at the clock again. Guess: a tenth of a millisecond. */
export const CALLS_PER_LOOK = 64;
