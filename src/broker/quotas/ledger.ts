/**
 * What all connections of one user hold of one resource, and how much more one of them may take
 * (shares.ts). Who holds how much of it, and which resources there are, is quota.ts's.
 *
 * Invariants: `used` is what all of them hold, those that are gone included; `withinShares` is what the
 * open ones hold up to `share` each, and so no more than `used`.
 *
 * One charge with its release is paid for each call and each message with fds. So the numbers are plain
 * fields, which cost a load each, and allows() stops at the first answer.
 */

import { commonLimit } from "./shares.ts";

/** One resource of one user. */
export class Ledger {
  /** How much the user holds. */
  used = 0;
  /** How much it may hold. */
  limit = 0;
  /** What each open connection can have, however much the others hold. */
  share = 0;
  /** What the open connections hold within their shares, and so not of the common part. */
  withinShares = 0;

  /**
   * Whether a connection may take more: the same as `own + more <= limitFor(own, ...)`.
   * @param own what it holds
   * @param share `share`; 0 for a connection that is gone
   * @param more 1 or more
   */
  allows(own: number, share: number, more: number): boolean {
    if (this.used + more > this.limit) return false;
    return own + more <= this.share || own + more <= this.#ofCommon(own, share, 0);
  }

  /**
   * How much a connection may hold, seen from what the others hold.
   * @param own as for allows(), with `share`
   * @param released that others are about to give back
   * @param releasedCommon how much of this they hold of the common part
   */
  limitFor(own: number, share: number, released: number, releasedCommon: number): number {
    const free = this.limit - (this.used - own) + released;
    const most = Math.max(this.share, this.#ofCommon(own, share, releasedCommon));
    return Math.max(0, Math.min(most, free));
  }

  /** A connection holds so much, where it held less or more. @param share as for allows() */
  move(before: number, after: number, share: number): void {
    this.used += after - before;
    if (before < share || after < share) {
      this.withinShares += Math.min(after, share) - Math.min(before, share);
    }
  }

  #ofCommon(own: number, share: number, releasedCommon: number): number {
    const commonOfOthers = this.used - this.withinShares - commonPart(own, share);
    return commonLimit(this.limit, commonOfOthers - releasedCommon);
  }
}

/** What a connection that holds so much holds of the common part. @param share as for allows() */
export function commonPart(own: number, share: number): number {
  return own > share ? own - share : 0;
}
