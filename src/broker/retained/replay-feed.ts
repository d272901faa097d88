/**
 * What one connection is still to be given of the last values, because it subscribed: which values,
 * each once, and none that it got live. Finds them in small steps. Sends nothing.
 *
 *     kept        1   2   3       5   6         (counted events; 2 was replaced by 5)
 *     subscribed            4
 *                 └───────┘                     4 is given 1 and 3; it got 5 and 6 as they came
 *
 * Subscriptions to a name look their value up. Those to a pattern walk all values, oldest first, and
 * all that came before a walk began share it. Whatever is asked is also asked of the subscription:
 * one that has ended meanwhile gets nothing.
 */

import { SubscriptionIndex } from "../routing/subscription-index.ts";
import type { RetainedTable } from "./retained-table.ts";
import type { RetainedValue } from "./retained-value.ts";

/** advance(): nothing found yet, ask again. */
export const SEARCHING = "searching";
/** advance(): nothing is left to be given. */
export const FINISHED = "finished";

/** Subscriptions to patterns that share one walk. */
class Walkers {
  readonly #index = new SubscriptionIndex<number>();
  /** When each was made. */
  readonly #madeAt = new Map<number, number>();
  /** When the first of them was made. */
  firstMadeAt = Number.POSITIVE_INFINITY;
  /** When the last of them was made: values that were kept later are for nobody here. */
  lastMadeAt = 0;

  get isEmpty(): boolean {
    return this.#madeAt.size === 0;
  }

  add(subscription: number, pattern: string, madeAt: number): void {
    this.#index.add(pattern, subscription);
    this.#madeAt.set(subscription, madeAt);
    this.firstMadeAt = Math.min(this.firstMadeAt, madeAt);
    this.lastMadeAt = madeAt;
  }

  /** Whether a subscription that was made after an event, and is not over, matches a topic. */
  want(name: string, after: number, isOpen: (subscription: number) => boolean): boolean {
    if (after > this.lastMadeAt) return false;
    for (const subscription of this.#index.match(name)) {
      if ((this.#madeAt.get(subscription) as number) > after && isOpen(subscription)) return true;
    }
    return false;
  }
}

/** One connection's share of the last values. */
export class ReplayFeed {
  readonly #table: RetainedTable;
  readonly #isOpen: (subscription: number) => boolean;
  /** Values that subscriptions to their very names wait for. */
  readonly #named = new Map<RetainedValue, number[]>();
  #walkers = new Walkers();
  #waiting = new Walkers();
  #walk: Iterator<RetainedValue> | undefined;
  /** The walk has come as far as the value that was kept then. */
  #walkedTo = 0;
  /** Values that were given before the walk came to them, and when. */
  readonly #takenEarly = new Map<RetainedValue, number>();

  /** @param isOpen whether a subscription of the connection is not over */
  constructor(table: RetainedTable, isOpen: (subscription: number) => boolean) {
    this.#table = table;
    this.#isOpen = isOpen;
  }

  /** A subscription to a topic that has this last value was made. */
  addNamed(subscription: number, value: RetainedValue): void {
    const waiting = this.#named.get(value);
    if (waiting === undefined) this.#named.set(value, [subscription]);
    else waiting.push(subscription);
  }

  /** A subscription to a pattern was made. */
  addPattern(subscription: number, pattern: string): void {
    this.#waiting.add(subscription, pattern, this.#table.countEvent());
  }

  /**
   * Takes the next step.
   * @returns a value to be given, SEARCHING or FINISHED
   */
  advance(): RetainedValue | typeof SEARCHING | typeof FINISHED {
    const named = this.#named.entries().next().value;
    if (named !== undefined) {
      const [value, subscriptions] = named;
      this.#named.delete(value);
      return this.#table.isCurrent(value) && this.#isAnyOpen(subscriptions) ? value : SEARCHING;
    }
    if (this.#walk === undefined && !this.#startWalk()) return FINISHED;
    const next = this.#walk?.next();
    if (next === undefined || next.done === true || next.value.keptAt > this.#walkers.lastMadeAt) {
      this.#endWalk();
      return SEARCHING;
    }
    const { value } = next;
    const isWanted = this.#isWantedBy(this.#walkers, value);
    this.#walkedTo = value.keptAt;
    return isWanted ? value : SEARCHING;
  }

  /**
   * Takes one value out of turn, because something newer on its topic is about to be delivered.
   * @returns whether it is to be given now, before that
   */
  takeEarly(value: RetainedValue): boolean {
    const named = this.#named.get(value);
    this.#named.delete(value);
    const isAhead = this.#walk !== undefined && value.keptAt > this.#walkedTo;
    const isWanted =
      (isAhead && this.#isWantedBy(this.#walkers, value)) || this.#isWantedBy(this.#waiting, value);
    if (isWanted) this.#takenEarly.set(value, this.#table.countEvent());
    return isWanted || (named !== undefined && this.#isAnyOpen(named));
  }

  #isAnyOpen(subscriptions: readonly number[]): boolean {
    return subscriptions.some(this.#isOpen);
  }

  #isWantedBy(walkers: Walkers, value: RetainedValue): boolean {
    const after = Math.max(value.keptAt, this.#takenEarly.get(value) ?? 0);
    return walkers.want(value.topic.name, after, this.#isOpen);
  }

  #startWalk(): boolean {
    if (this.#waiting.isEmpty) return false;
    this.#walkers = this.#waiting;
    this.#waiting = new Walkers();
    this.#walk = this.#table.values();
    this.#walkedTo = 0;
    return true;
  }

  #endWalk(): void {
    this.#walk = undefined;
    this.#walkers = new Walkers();
    for (const [value, takenAt] of this.#takenEarly) {
      if (takenAt < this.#waiting.firstMadeAt) this.#takenEarly.delete(value);
    }
  }
}
