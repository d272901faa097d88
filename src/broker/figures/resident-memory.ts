/** How much memory the broker has, for `stats`: asked of a file in /proc, which takes an fd. */

import type { SpareFds } from "../fds/spare-fds.ts";

/**
 * Resident memory of this process, in bytes. Where no fd is left to ask with, those that are kept for
 * administrators are lent, since only they are told it.
 * @returns undefined where that does not help
 */
export function residentBytes(spareFds: Pick<SpareFds, "lend">): number | undefined {
  return tryResidentBytes() ?? spareFds.lend(tryResidentBytes);
}

/** The runtime throws whatever the system said. */
function tryResidentBytes(): number | undefined {
  try {
    return process.memoryUsage.rss();
  } catch {
    return undefined;
  }
}
