/** Waiting for conditions of other processes, with a deadline and never for a fixed time. */

import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds after which a condition counts as one that never comes true. Less than a test has
 * (`--timeout` in package.json), so that what fails is named. */
export const CONDITION_TIMEOUT_MS = 25_000;

/** Milliseconds between two looks. */
const LOOK_INTERVAL_MS = 1;

/** Looks that only let the event loop go round, since most conditions hold at once. */
const EAGER_LOOKS = 50;

/**
 * Looks until there is something to see.
 * @param look undefined or false: not yet
 * @param what the condition in words, for the error; a function is asked when it is needed
 * @returns what look() returned
 * @throws {Error} after CONDITION_TIMEOUT_MS
 */
export async function eventually<Seen>(
  look: () => Seen | undefined | false | Promise<Seen | undefined | false>,
  what: string | (() => string),
): Promise<Seen> {
  const deadline = performance.now() + CONDITION_TIMEOUT_MS;
  for (let looks = 0; ; looks += 1) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) {
      throw new Error(`Did not happen: ${typeof what === "string" ? what : what()}`);
    }
    if (looks < EAGER_LOOKS) await new Promise((resolve) => setImmediate(resolve));
    else await sleep(LOOK_INTERVAL_MS);
  }
}
