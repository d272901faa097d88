/**
 * What subscribers ask for where they read too slowly: by pattern, and found by topic. A subscription
 * that asks for nothing does not stand here and costs nothing. Pure; what the policy grants is
 * overflow-rules.ts's.
 */

import type { OverflowPolicy } from "../../protocol/words.ts";
import { SubscriptionIndex } from "./subscription-index.ts";

/** The first of this list that one of the matching subscriptions asks for holds. */
export const OVERFLOW_BY_STRENGTH: readonly OverflowPolicy[] = [
  "block",
  "disconnect",
  "drop-newest",
  "drop-oldest",
  "latest-per-topic",
];

/** Patterns with what was asked for them. */
export class AskedOverflow<Subscriber> {
  readonly #indexes = new Map<OverflowPolicy, SubscriptionIndex<Subscriber>>();

  /** Adds what one subscription asks for. */
  add(pattern: string, subscriber: Subscriber, overflow: OverflowPolicy): void {
    let index = this.#indexes.get(overflow);
    if (index === undefined) {
      index = new SubscriptionIndex();
      this.#indexes.set(overflow, index);
    }
    index.add(pattern, subscriber);
  }

  /** Removes what add() added. */
  remove(pattern: string, subscriber: Subscriber, overflow: OverflowPolicy): void {
    const index = this.#indexes.get(overflow);
    index?.remove(pattern, subscriber);
    if (index?.size === 0) this.#indexes.delete(overflow);
  }

  /**
   * What subscribers ask for one topic.
   * @param grantsBlock whether "block" counts; otherwise it is as if nobody had asked for it
   * @returns undefined where nobody asks for anything
   */
  match(topic: string, grantsBlock: boolean): Map<Subscriber, OverflowPolicy> | undefined {
    if (this.#indexes.size === 0) return undefined;
    const found = new Map<Subscriber, OverflowPolicy>();
    for (const overflow of OVERFLOW_BY_STRENGTH) {
      const index = this.#indexes.get(overflow);
      if (index === undefined || (overflow === "block" && !grantsBlock)) continue;
      for (const subscriber of index.match(topic)) {
        if (!found.has(subscriber)) found.set(subscriber, overflow);
      }
    }
    return found;
  }
}
