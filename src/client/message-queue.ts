/**
 * Messages that wait for one iterator: bounded, and full in the way that the subscription asked for.
 * Where gaps are wanted they stand between the messages, in the place of those that are missing.
 * Decides nothing beyond the queue; what a full one means for the bus is subscription.ts's.
 */

import type { OverflowPolicy } from "../protocol/words.ts";
import { SUBSCRIPTION_MEMORY_BYTES_MAX } from "./limits.ts";
import type { Message } from "./message.ts";
import type { GapReason } from "./status.ts";

/** Messages that are missing in one place. */
export interface Gap {
  /** Undefined: on several topics. */
  readonly topic: string | undefined;
  /** Undefined: nobody knows how many. */
  readonly count: number | undefined;
  readonly reason: GapReason;
}

/** push(): the message is in the queue. */
export const TAKEN = 0;
/** push(): messages were dropped, this one or others, for `dropReason`; `size` tells how many. */
export const DROPPED_ONE = 1;
/** push(): there is no room, and the subscription does not want to miss anything. */
export const FULL = 2;

/** Taken messages at the head of the array that are tolerated before the rest moves up. */
const TAKEN_KEPT = 1_024;

interface Entry<Data> {
  /** Undefined once it was superseded, or at the end of the queue where only gaps follow. */
  message: Message<Data> | undefined;
  /** What is missing just before it. */
  gaps: Gap[] | undefined;
}

/** Which event tells that messages were dropped by each policy. */
const DROP_REASONS: Readonly<Record<OverflowPolicy, GapReason>> = {
  "drop-newest": "subscription-full",
  "drop-oldest": "oldest-dropped",
  "latest-per-topic": "superseded",
  disconnect: "subscription-full",
  block: "subscription-full",
};

/** The queue of one subscription. */
export class MessageQueue<Data> {
  readonly #max: number;
  readonly #overflow: OverflowPolicy;
  readonly #keepsGaps: boolean;
  #entries: Entry<Data>[] = [];
  #head = 0;
  #count = 0;
  #memoryBytes = 0;
  /** Missing behind the last message. */
  #trailing: Gap[] = [];
  /** Where the newest message of each topic stands, while the queue is full ("latest-per-topic"). */
  #newest: Map<string, Entry<Data>> | undefined;

  /**
   * @param max messages that may wait
   * @param keepsGaps whether takeGap() is asked
   */
  constructor(max: number, overflow: OverflowPolicy, keepsGaps: boolean) {
    this.#max = max;
    this.#overflow = overflow;
    this.#keepsGaps = keepsGaps;
  }

  /** Messages that wait. */
  get size(): number {
    return this.#count;
  }

  /** Whether one more message, without a body of its own, would not fit. */
  get isFull(): boolean {
    return this.#count >= this.#max || this.#memoryBytes >= SUBSCRIPTION_MEMORY_BYTES_MAX;
  }

  /** Why messages are dropped here. */
  get dropReason(): GapReason {
    return DROP_REASONS[this.#overflow];
  }

  /**
   * Adds a message, where the queue is full by dropping another or not at all.
   * @returns TAKEN, DROPPED_ONE, or FULL with the message still the caller's
   */
  push(message: Message<Data>): number {
    // From the time it was full until it is half empty, of each topic only the newest stays.
    const isSuperseding = this.#newest?.has(message.topic) === true;
    if (!isSuperseding && this.#hasRoomFor(message)) {
      this.#append(message);
      return TAKEN;
    }
    switch (this.#overflow) {
      case "disconnect":
        return FULL;
      case "block":
        // Who reads is told to stop; what is on its way already must not be lost.
        this.#append(message);
        return TAKEN;
      case "drop-newest":
        this.note({ topic: message.topic, count: 1, reason: this.dropReason });
        message[Symbol.dispose]();
        return DROPPED_ONE;
      case "drop-oldest":
        this.#dropOldest();
        this.#append(message);
        return DROPPED_ONE;
      case "latest-per-topic":
        this.#supersede(message.topic);
        this.#append(message);
        return DROPPED_ONE;
    }
  }

  /** Messages are missing behind all that is here. */
  note(gap: Gap): void {
    if (this.#keepsGaps) addGap(this.#trailing, gap);
  }

  /** What is missing before the next message; once each. */
  takeGap(): Gap | undefined {
    this.#skipEmpty();
    const next = this.#entries[this.#head];
    return next === undefined ? this.#trailing.shift() : next.gaps?.shift();
  }

  /** The next message. */
  shift(): Message<Data> | undefined {
    this.#skipEmpty();
    const entry = this.#entries[this.#head];
    const message = entry?.message;
    if (entry === undefined || message === undefined) return undefined;
    this.#head += 1;
    this.#forget(message);
    if (this.#newest?.get(message.topic) === entry) this.#newest.delete(message.topic);
    if (this.#head === this.#entries.length) this.#entries = [];
    else if (this.#head >= TAKEN_KEPT) this.#entries = this.#entries.slice(this.#head);
    else return message;
    this.#head = 0;
    return message;
  }

  /** Lets go of everything. */
  clear(): void {
    for (let at = this.#head; at < this.#entries.length; at += 1) {
      this.#entries[at]?.message?.[Symbol.dispose]();
    }
    this.#entries = [];
    this.#trailing = [];
    this.#newest = undefined;
    this.#head = 0;
    this.#count = 0;
    this.#memoryBytes = 0;
  }

  #hasRoomFor({ memoryBytes }: Message<Data>): boolean {
    if (this.#count >= this.#max) return false;
    if (memoryBytes === 0) return true;
    return this.#memoryBytes + memoryBytes <= SUBSCRIPTION_MEMORY_BYTES_MAX;
  }

  #append(message: Message<Data>): void {
    const gaps = this.#trailing.length === 0 ? undefined : this.#trailing.splice(0);
    const entry: Entry<Data> = { message, gaps };
    this.#entries.push(entry);
    this.#count += 1;
    this.#memoryBytes += message.memoryBytes;
    this.#newest?.set(message.topic, entry);
  }

  #forget(message: Message<Data>): void {
    this.#count -= 1;
    this.#memoryBytes -= message.memoryBytes;
    if (this.#count * 2 <= this.#max) this.#newest = undefined;
  }

  #dropOldest(): void {
    const gaps = this.#entries[this.#head]?.gaps ?? [];
    const message = this.shift();
    if (message === undefined) return;
    this.#moveGaps([...gaps, this.#gapOf(message, "oldest-dropped")], this.#head);
    message[Symbol.dispose]();
  }

  /** Drops what the newest message of a topic stands for: of this topic, else of any, else the oldest. */
  #supersede(topic: string): void {
    this.#newest ??= this.#findNewest();
    const old = this.#newest.get(topic);
    if (old?.message === undefined) {
      if (!this.#hasRoomAfterAll()) this.#dropOldest();
      return;
    }
    const { message } = old;
    const gaps = old.gaps ?? [];
    old.message = undefined;
    old.gaps = undefined;
    this.#forget(message);
    // The one that stands for it comes next.
    for (const gap of [...gaps, this.#gapOf(message, "superseded")]) this.note(gap);
    message[Symbol.dispose]();
  }

  #hasRoomAfterAll(): boolean {
    return this.#count < this.#max && this.#memoryBytes < SUBSCRIPTION_MEMORY_BYTES_MAX;
  }

  /** The first time that the queue is full: of each topic only the newest stays. */
  #findNewest(): Map<string, Entry<Data>> {
    const newest = new Map<string, Entry<Data>>();
    for (let at = this.#head; at < this.#entries.length; at += 1) {
      const entry = this.#entries[at];
      if (entry?.message === undefined) continue;
      const { topic } = entry.message;
      const old = newest.get(topic);
      if (old?.message !== undefined) {
        const gaps = [...(old.gaps ?? []), this.#gapOf(old.message, "superseded")];
        if (this.#keepsGaps) entry.gaps = merged(gaps, entry.gaps ?? []);
        this.#count -= 1;
        this.#memoryBytes -= old.message.memoryBytes;
        old.message[Symbol.dispose]();
        old.message = undefined;
        old.gaps = undefined;
      }
      newest.set(topic, entry);
    }
    return newest;
  }

  #gapOf({ topic }: Message<Data>, reason: GapReason): Gap {
    return { topic, count: 1, reason };
  }

  /** Gaps stand before whatever comes next from here on. */
  #moveGaps(gaps: readonly Gap[], from: number): void {
    if (!this.#keepsGaps) return;
    const next = this.#entries[from];
    if (next === undefined) this.#trailing = merged(gaps, this.#trailing);
    else next.gaps = merged(gaps, next.gaps ?? []);
  }

  /** Superseded entries hold nothing, and are passed over. */
  #skipEmpty(): void {
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head];
      if (entry?.message !== undefined) return;
      this.#head += 1;
    }
    this.#entries = [];
    this.#head = 0;
  }
}

function merged(first: readonly Gap[], then: readonly Gap[]): Gap[] {
  const gaps: Gap[] = [];
  for (const gap of [...first, ...then]) addGap(gaps, gap);
  return gaps;
}

/** Adds a gap to those in one place, to one of its kind where there is one. */
function addGap(gaps: Gap[], gap: Gap): void {
  const at = gaps.findIndex(({ topic, reason }) => topic === gap.topic && reason === gap.reason);
  const known = gaps[at];
  if (known === undefined) gaps.push(gap);
  else gaps[at] = { ...known, count: sumOf(known.count, gap.count) };
}

function sumOf(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
