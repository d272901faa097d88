/** What callers of a bus choose, and ask. */

import type { Explain } from "../protocol/administration-messages.ts";

/** Data by topic name, for `connect<Topics>()`. */
export type TopicMap = { [topic: string]: unknown };

/** Choices for flush(). */
export interface FlushOptions {
  /** Milliseconds; default 30,000. */
  readonly timeoutMs?: number;
  /**
   * Wait, too, until no file of this client's is on its way: the processes of all subscribers have
   * received their copies, or these were closed.
   */
  readonly untilFdsTaken?: boolean;
}

/** Choices for drain(). */
export interface DrainOptions {
  /** Milliseconds after which the bus is closed whatever is under way; default 30,000. */
  readonly timeoutMs?: number;
}

/** A question to explain(). */
export type PolicyQuestion = Explain;
