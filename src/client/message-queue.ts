/**
 * Messages of one subscription that wait: bounded, and full in the way that the subscription asked
 * for. Where gaps are wanted they stand between the messages, in the place of those that are missing.
 * Decides nothing beyond the queue; what a full one means for the bus is subscription.ts's.
 */

import type { OverflowPolicy } from "../protocol/words.ts";
import { addGap, countGap, type Gap, type GrowingGap } from "./gaps.ts";
import { EMPTY_PLACES_KEPT } from "./limits.ts";
import type { Message } from "./message.ts";
import { PacketLeavings, PacketThrift } from "./packet-thrift.ts";
import { type QueueLimits, QueueLoad } from "./queue-load.ts";
import type { GapReason } from "./status.ts";

/** Told of each message that is dropped. */
export type OnDropped = (topic: string, reason: GapReason) => void;

/** Taken messages at the head of the array that are tolerated before the rest moves up. */
const TAKEN_KEPT = 1_024;

interface Entry<Data> {
  /** Undefined once it was taken or superseded. */
  message: Message<Data> | undefined;
  /** What is missing just before it. */
  gaps: GrowingGap[] | undefined;
}

/** The queue of one subscription. */
export class MessageQueue<Data> {
  readonly #overflow: OverflowPolicy;
  readonly #keepsGaps: boolean;
  readonly #onDropped: OnDropped;
  #entries: Entry<Data>[] = [];
  #head = 0;
  readonly #load: QueueLoad;
  readonly #thrift = new PacketThrift();
  /** Missing behind the last message. */
  #trailing: GrowingGap[] = [];
  /** With "latest-per-topic": where the message of each topic stands. There is one of each. */
  readonly #newest: Map<string, Entry<Data>> | undefined;
  readonly #leavings = new PacketLeavings();

  /**
   * @param keepsGaps whether takeGap() is asked
   */
  constructor(
    limits: QueueLimits,
    overflow: OverflowPolicy,
    keepsGaps: boolean,
    onDropped: OnDropped = () => {},
  ) {
    this.#load = new QueueLoad(limits);
    this.#overflow = overflow;
    this.#newest = overflow === "latest-per-topic" ? new Map() : undefined;
    this.#keepsGaps = keepsGaps;
    this.#onDropped = onDropped;
  }

  /** Messages that wait. */
  get size(): number {
    return this.#load.count;
  }

  /** Bytes of their bodies. */
  get bytes(): number {
    return this.#load.bytes;
  }

  /** Whether one more message, of no bytes, would not fit. */
  get isFull(): boolean {
    return this.#load.isFull;
  }

  /** Whether at most half of what may wait does. */
  get isLow(): boolean {
    return this.#load.isLow;
  }

  /** Whether more than setCeiling() allows has come since. */
  get isOver(): boolean {
    return this.#load.isOver;
  }

  /** The queue is full, and takes a bounded amount more all the same. */
  setCeiling(): void {
    this.#load.setCeiling();
  }

  /**
   * Adds a message, where the queue is full by dropping another or this one. With "latest-per-topic"
   * it always stands for an older one of its topic: a program that reads slowly sees what is, and not
   * what was thousands of messages ago.
   * @returns false where the subscription is to end rather than miss it; it is the caller's then
   */
  push(message: Message<Data>): boolean {
    if (this.#newest !== undefined) this.#supersede(this.#newest.get(message.topic));
    if (!this.#load.hasRoomFor(message)) {
      if (this.#overflow === "disconnect") return false;
      if (this.#overflow === "drop-newest") {
        this.lose(message);
        return true;
      }
      // With "block" who reads is told to stop; what is on its way already must not be lost.
      if (this.#overflow !== "block") this.#makeRoomFor(message);
    }
    this.#append(message);
    return true;
  }

  /** A message is not taken, and is missing behind all that is here. */
  lose(message: Message<Data>): void {
    this.#drop(message, "subscription-full", this.#trailing);
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
    return this.#takeOldest();
  }

  /** Lets go of everything. */
  clear(): void {
    for (let at = this.#head; at < this.#entries.length; at += 1) {
      this.#entries[at]?.message?.[Symbol.dispose]();
    }
    this.#entries = [];
    this.#trailing = [];
    this.#newest?.clear();
    this.#head = 0;
    this.#load.clear();
    this.#thrift.clear();
    this.#leavings.clear();
  }

  #append(message: Message<Data>): void {
    const gaps = this.#trailing.length === 0 ? undefined : this.#trailing.splice(0);
    const entry: Entry<Data> = { message, gaps };
    this.#entries.push(entry);
    this.#load.add(message);
    if (this.#newest === undefined) return this.#thrift.note(message);
    // What stands around it in its packet may go while it stays.
    this.#leavings.note(message, entry);
    this.#newest.set(message.topic, entry);
  }

  #drop(message: Message<Data>, reason: GapReason, gaps: GrowingGap[]): void {
    if (this.#keepsGaps) countGap(gaps, message.topic, reason, 1);
    this.#onDropped(message.topic, reason);
    message[Symbol.dispose]();
  }

  #takeOldest(): Message<Data> | undefined {
    this.#skipEmpty();
    const entry = this.#entries[this.#head];
    const message = entry?.message;
    if (entry === undefined || message === undefined) return undefined;
    this.#head += 1;
    entry.message = undefined;
    this.#load.remove(message);
    if (this.#newest?.get(message.topic) === entry) this.#newest.delete(message.topic);
    if (this.#head === this.#entries.length) this.#entries = [];
    else if (this.#head >= TAKEN_KEPT) this.#entries = this.#entries.slice(this.#head);
    else return message;
    this.#head = 0;
    return message;
  }

  #makeRoomFor(message: Message<Data>): void {
    while (!this.#load.hasRoomFor(message)) this.#dropOldest();
  }

  #dropOldest(): void {
    this.#skipEmpty();
    const gaps = this.#entries[this.#head]?.gaps ?? [];
    const message = this.#takeOldest();
    if (message === undefined) return;
    this.#drop(message, "oldest-dropped", gaps);
    this.#putGaps(gaps, this.#head);
  }

  /** Drops the message of an entry, if it has one: the one that stands for it comes next. */
  #supersede(entry: Entry<Data> | undefined): void {
    const message = entry?.message;
    if (entry === undefined || message === undefined) return;
    this.#load.remove(message);
    entry.message = undefined;
    // What the entry itself stood for goes along; the other gaps stay in their place.
    const at = entry.gaps === undefined ? -1 : placeOf(entry.gaps, message.topic, "superseded");
    for (const gap of at < 0 ? [] : (entry.gaps?.splice(at, 1) ?? [])) addGap(this.#trailing, gap);
    this.#drop(message, "superseded", this.#trailing);
    this.#tidy();
  }

  /** Puts gaps before all that is missing before the entry at an index, or behind the last message. */
  #putGaps(gaps: GrowingGap[], at: number): void {
    if (gaps.length === 0) return;
    const next = this.#entries[at];
    for (const gap of next === undefined ? this.#trailing : (next.gaps ?? [])) addGap(gaps, gap);
    if (next === undefined) this.#trailing = gaps;
    else next.gaps = gaps;
  }

  /** Passes over entries whose message was superseded; their gaps go to what comes next. */
  #skipEmpty(): void {
    if (this.#entries.length === 0) return;
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head];
      if (entry?.message !== undefined) return;
      this.#head += 1;
      if (entry?.gaps !== undefined) this.#putGaps(entry.gaps, this.#head);
    }
    this.#entries = [];
    this.#head = 0;
  }

  /** Throws such entries out where a reader that stands still would let them pile up. */
  #tidy(): void {
    if (this.#entries.length - this.#head <= 2 * this.#load.count + EMPTY_PLACES_KEPT) return;
    const entries = this.#entries;
    for (let at = this.#head; at < entries.length; at += 1) {
      const entry = entries[at];
      if (entry?.message === undefined && entry?.gaps !== undefined) {
        this.#putGaps(entry.gaps, at + 1);
      }
    }
    this.#entries = entries.slice(this.#head).filter(({ message }) => message !== undefined);
    this.#head = 0;
  }
}

function placeOf(gaps: readonly Gap[], topic: string, reason: GapReason): number {
  return gaps.findIndex((gap) => gap.topic === topic && gap.reason === reason);
}
