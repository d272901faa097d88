/**
 * What subscribers ask for where they read too slowly: by pattern, and found by topic. A subscription
 * that asks for nothing does not stand here and costs nothing. Pure; what the policy grants is
 * overflow-rules.ts's.
 */

import type { OverflowPolicy } from "../../protocol/words.ts";
import type { OverflowRule } from "../sending/overflow-rules.ts";
import { SubscriptionIndex } from "./subscription-index.ts";

/**
 * The first of this list holds that one of the matching subscriptions asks for. One without a word
 * counts as if it had asked for what the policy sets, else for drop-newest.
 */
const OVERFLOW_BY_STRENGTH: readonly OverflowPolicy[] = [
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
   * What holds for subscribers of one topic that ask for something there.
   * @param rule of this topic. Where it does not grant "block", it is as if nobody had asked for it
   * @param all every subscription, those that ask for nothing included
   * @returns undefined where nobody asks for anything
   */
  match(
    topic: string,
    rule: OverflowRule,
    all: SubscriptionIndex<Subscriber>,
  ): Map<Subscriber, OverflowPolicy> | undefined {
    if (this.#indexes.size === 0) return undefined;
    const found = new Map<Subscriber, OverflowPolicy>();
    const asking = new Map<Subscriber, number>();
    for (const overflow of OVERFLOW_BY_STRENGTH) {
      const index = this.#indexes.get(overflow);
      if (index === undefined || (overflow === "block" && !rule.grantsBlock)) continue;
      for (const [subscriber, count] of index.countMatches(topic)) {
        if (!found.has(subscriber)) found.set(subscriber, overflow);
        asking.set(subscriber, (asking.get(subscriber) ?? 0) + count);
      }
    }
    if (found.size === 0) return undefined;
    const counts = all.countMatches(topic);
    for (const [subscriber, overflow] of found) {
      if (counts.get(subscriber) === asking.get(subscriber)) continue;
      found.set(subscriber, strongerOf(overflow, rule.standard));
    }
    return found;
  }
}

function strongerOf(one: OverflowPolicy, other: OverflowPolicy): OverflowPolicy {
  const isFirst = OVERFLOW_BY_STRENGTH.indexOf(one) <= OVERFLOW_BY_STRENGTH.indexOf(other);
  return isFirst ? one : other;
}
