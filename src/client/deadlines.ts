/**
 * Deadlines of things that mostly do not reach them: calls. One timer for all, and nothing made for
 * each: an entry is the thing itself, linked into the queue of those that wait equally long, whose
 * order is that of their deadlines.
 */

import { assert } from "../assert.ts";
import type { Clock } from "./clock.ts";
import { TIMER_MS_MAX } from "./limits.ts";

/** Something with a deadline. */
export abstract class TimedEntry {
  /** By the clock. For Deadlines alone, like the three below. */
  dueAt = 0;
  queue: EntryQueue | undefined;
  before: TimedEntry | undefined;
  behind: TimedEntry | undefined;

  /** The deadline has passed; the entry was removed. Must not throw. */
  abstract onDue(): void;
}

/** Entries that wait equally long, the oldest first. */
interface EntryQueue {
  readonly ms: number;
  first: TimedEntry | undefined;
  last: TimedEntry | undefined;
}

/** See the head of this file. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #queues = new Map<number, EntryQueue>();
  /** When the timer goes off; Infinity where none runs. */
  #timerAt = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** By the clock of these deadlines. */
  now(): number {
    return this.#clock.now();
  }

  /**
   * Starts the time of an entry that has none running.
   * @param ms above 0; with Infinity nothing happens
   */
  add(entry: TimedEntry, ms: number): void {
    if (ms === Number.POSITIVE_INFINITY) return;
    assert(entry.queue === undefined, "an entry has one deadline at a time");
    const queue = this.#queueOf(ms);
    entry.dueAt = this.#clock.now() + ms;
    entry.queue = queue;
    entry.before = queue.last;
    if (queue.last === undefined) queue.first = entry;
    else queue.last.behind = entry;
    queue.last = entry;
    if (entry.dueAt < this.#timerAt) this.#startTimer(entry.dueAt);
  }

  /** Stops the time of an entry; does nothing where none runs. */
  remove(entry: TimedEntry): void {
    const { queue, before, behind } = entry;
    if (queue === undefined) return;
    if (before === undefined) queue.first = behind;
    else before.behind = behind;
    if (behind === undefined) queue.last = before;
    else behind.before = before;
    entry.queue = undefined;
    entry.before = undefined;
    entry.behind = undefined;
  }

  /** Forgets all entries, without calling them. */
  clear(): void {
    for (const queue of this.#queues.values()) while (queue.first) this.remove(queue.first);
    this.#queues.clear();
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #queueOf(ms: number): EntryQueue {
    const known = this.#queues.get(ms);
    if (known !== undefined) return known;
    const queue: EntryQueue = { ms, first: undefined, last: undefined };
    this.#queues.set(ms, queue);
    return queue;
  }

  /** A timer is not stopped with its entry: calls are quicker than timers, and most would be in vain. */
  #startTimer(at: number): void {
    this.#stopTimer?.();
    this.#timerAt = at;
    const ms = Math.min(Math.max(at - this.#clock.now(), 1), TIMER_MS_MAX);
    this.#stopTimer = this.#clock.startTimer(() => this.#onTimer(), Math.ceil(ms));
  }

  #onTimer(): void {
    this.#stopTimer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const queue of [...this.#queues.values()]) {
      for (
        let entry = queue.first;
        entry !== undefined && entry.dueAt <= now;
        entry = queue.first
      ) {
        this.remove(entry);
        entry.onDue();
      }
      if (queue.first === undefined) this.#queues.delete(queue.ms);
      else next = Math.min(next, queue.first.dueAt);
    }
    // What was called may have started a timer of its own.
    if (next < this.#timerAt) this.#startTimer(next);
  }
}
