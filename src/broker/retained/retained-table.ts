/**
 * The last value of each topic that has one. Decides what fits and when a value is over; rights are
 * retained-area.ts's, delivering is replay.ts's. Pure but for the fds that values let go of.
 *
 * Invariants: values stand in the order in which they were kept, so whoever walks them can stop at
 * the first that is too new; each value is let go of exactly once, with its charge, its hold on the
 * topic and its files.
 */

import { assert } from "../../assert.ts";
import { NEVER } from "../deadlines.ts";
import { type ConnectionQuota, RESOURCE } from "../quotas/quota.ts";
import { limitOfAllFor, MODEST } from "../quotas/reserve.ts";
import type { TopicTable } from "../routing/topic-table.ts";
import { DeadlineHeap } from "./deadline-heap.ts";
import { RETAINED_MAX } from "./limits.ts";
import { RetainedCharges, type RetainedExcess, type RetainedSize } from "./retained-charge.ts";
import type { RetainedValue } from "./retained-value.ts";

/** Values that sweep() looks at in one step. */
const SWEPT_PER_STEP = 64;

/** What a table needs to know of a message to keep it. */
export interface Keepsake
  extends Pick<RetainedValue, "topic" | "origin" | "frame" | "bundle" | "deadline"> {
  /** Whoever sent it. */
  readonly account: ConnectionQuota;
  readonly size: RetainedSize;
}

/** Last values. One table for a broker. */
export class RetainedTable {
  readonly #topics: TopicTable;
  readonly #charges = new RetainedCharges();
  readonly #byName = new Map<string, RetainedValue>();
  readonly #deadlines = new DeadlineHeap<RetainedValue>();
  #events = 0;

  /** @param topics where the topics of values are held */
  constructor(topics: TopicTable) {
    this.#topics = topics;
  }

  get size(): number {
    return this.#byName.size;
  }

  /** What all values are charged for. */
  get charged(): RetainedSize {
    return this.#charges.total;
  }

  /** When expire() has something to do; Infinity for never. */
  get nextDeadline(): number {
    return this.#deadlines.first()?.deadline ?? NEVER;
  }

  /** Counts an event that must be told from what was kept before and after it. */
  countEvent(): number {
    this.#events += 1;
    return this.#events;
  }

  /** The last value of a topic. */
  find(name: string): RetainedValue | undefined {
    return this.#byName.get(name);
  }

  /** Whether a value is still the last one of its topic. */
  isCurrent(value: RetainedValue): boolean {
    return this.#byName.get(value.topic.name) === value;
  }

  /** All values, the oldest first. May be walked while values come and go. */
  values(): IterableIterator<RetainedValue> {
    return this.#byName.values();
  }

  /** Why a value cannot be kept under this name; undefined where it can. Changes nothing. */
  excess(account: ConnectionQuota, name: string, size: RetainedSize): RetainedExcess | undefined {
    const replaced = this.#byName.get(name);
    const own = account.user.used(RESOURCE.retained);
    const limit = limitOfAllFor(RETAINED_MAX, own, MODEST.retained);
    if (replaced === undefined && this.size >= limit) {
      return { what: "last values of all users", actual: this.size + 1, limit };
    }
    return this.#charges.excess(account, size, replaced?.charge);
  }

  /**
   * Keeps a value that excess() let through, in place of the one before.
   * @param keepsake its bundle is handed over, one holder of it
   */
  keep({ account, size, ...fields }: Keepsake): void {
    const { name } = fields.topic;
    const topic = this.#topics.hold(name);
    assert(topic === fields.topic, "a value is kept while somebody has its topic open");
    this.clear(name);
    const charge = this.#charges.charge(account, size);
    const value: RetainedValue = { ...fields, keptAt: this.countEvent(), charge, heapIndex: -1 };
    this.#byName.set(name, value);
    if (value.deadline !== NEVER) this.#deadlines.add(value);
  }

  /** Lets go of the last value of a topic. @returns whether there was one */
  clear(name: string): boolean {
    const value = this.#byName.get(name);
    if (value === undefined) return false;
    this.#byName.delete(name);
    this.#deadlines.remove(value);
    this.#charges.release(value.charge);
    value.bundle?.release();
    this.#topics.release(value.topic);
    return true;
  }

  /** Lets go of values by the names of their topics, some a step. */
  *sweep(isOver: (name: string) => boolean): Generator<void, void> {
    let looks = 0;
    for (const name of this.#byName.keys()) {
      if (isOver(name)) this.clear(name);
      looks += 1;
      if (looks % SWEPT_PER_STEP === 0) yield;
    }
  }

  /** Lets go of all values. */
  clearAll(): void {
    for (const name of this.#byName.keys()) this.clear(name);
  }

  /**
   * Lets go of values whose time is up.
   * @param hasTime asked after each
   */
  expire(now: number, hasTime: () => boolean): void {
    for (;;) {
      const value = this.#deadlines.first();
      if (value === undefined || value.deadline > now) return;
      const wasKept = this.clear(value.topic.name);
      assert(wasKept, "only values that are kept have a deadline");
      if (!hasTime()) return;
    }
  }
}
