/**
 * Publishers that are not read from until a subscriber has read on, and subscribers that hold some
 * back ("block"). A publisher waits here with what is left of its packet; nobody looks at it again
 * before a queue has drained, its subscriber is gone, its messages go another way, or it is gone
 * itself. Keeps time for those who hold others back and take nothing. Touches no socket.
 */

import type { Connection } from "../connection.ts";
import { NEVER } from "../deadlines.ts";
import type { Route } from "../routing/route.ts";
import { HELD_TOLD_MS, STALL_LOOK_MS } from "./limits.ts";
import type { PacketRest } from "./packet-rests.ts";

/** Why a publisher is not read from. */
export interface Holdup {
  /** One or more subscribers, any of which may let it go on. */
  readonly by: readonly Connection[];
  /** The name of the topic that its next message is on. */
  readonly topic: string;
}

/** A publisher that is held back. */
export interface Held extends Holdup {
  by: readonly Connection[];
  /** Which way its next message went when that was looked at last; undefined where it may not go. */
  route: Route | undefined;
  readonly rest: PacketRest;
  /** When it came to wait, in milliseconds on the broker's clock. */
  readonly since: number;
  /** It was told that it is held back. */
  isTold: boolean;
}

interface Holder {
  readonly publishers: Set<Connection>;
  /** What the subscriber had taken when it was seen to take something, and when that was. */
  packetsSent: number;
  movedAt: number;
}

/** Who waits for whom. */
export class HeldPublishers {
  readonly #held = new Map<Connection, Held>();
  readonly #holders = new Map<Connection, Holder>();
  #lookedAt = 0;

  /** What is known of a publisher that is held back; undefined for any other connection. */
  get(publisher: Connection): Held | undefined {
    return this.#held.get(publisher);
  }

  /** Publishers that a subscriber holds back. */
  countHeldBy(subscriber: Connection): number {
    return this.#holders.get(subscriber)?.publishers.size ?? 0;
  }

  /**
   * Holds a publisher back.
   * @param held since now
   */
  hold(publisher: Connection, held: Held): void {
    publisher.isHeld = true;
    const { since: now } = held;
    this.#held.set(publisher, held);
    if (this.#holders.size === 0) this.#lookedAt = now;
    this.#addToHolders(publisher, held, now);
  }

  /** Others hold the publisher back from now on; those who did before are timed as they were. */
  holdBy(publisher: Connection, by: readonly Connection[], now: number): void {
    const held = this.#held.get(publisher);
    if (held === undefined) return;
    const before = held.by;
    held.by = by;
    this.#addToHolders(publisher, held, now);
    for (const subscriber of before) {
      if (!by.includes(subscriber)) this.#takeFromHolder(publisher, subscriber);
    }
  }

  #addToHolders(publisher: Connection, held: Held, now: number): void {
    for (const subscriber of held.by) {
      let holder = this.#holders.get(subscriber);
      if (holder === undefined) {
        const { packetsSent } = subscriber.queue;
        holder = { publishers: new Set(), packetsSent, movedAt: now };
        this.#holders.set(subscriber, holder);
        subscriber.isHolding = true;
      }
      holder.publishers.add(publisher);
    }
  }

  /**
   * A subscriber has read on, or is gone.
   * @returns whom it held back, the one that waited longest first, with what comes next of each
   */
  release(subscriber: Connection): [publisher: Connection, held: Held][] {
    const holder = this.#holders.get(subscriber);
    if (holder === undefined) return [];
    return Array.from(holder.publishers, (publisher) => {
      const held = this.drop(publisher);
      if (held === undefined) throw new Error("A publisher that is held has something to say");
      return [publisher, held];
    });
  }

  /**
   * A publisher is not held any more.
   * @returns with what would have come next of it; its fds are the caller's
   */
  drop(publisher: Connection): Held | undefined {
    const held = this.#held.get(publisher);
    if (held === undefined) return undefined;
    publisher.isHeld = false;
    this.#held.delete(publisher);
    for (const subscriber of held.by) this.#takeFromHolder(publisher, subscriber);
    return held;
  }

  #takeFromHolder(publisher: Connection, subscriber: Connection): void {
    const holder = this.#holders.get(subscriber);
    holder?.publishers.delete(publisher);
    if (holder?.publishers.size !== 0) return;
    this.#holders.delete(subscriber);
    subscriber.isHolding = false;
  }

  /** All that are held back, the one that waited longest first; the list is the caller's. */
  all(): [publisher: Connection, held: Held][] {
    return [...this.#held];
  }

  /** Nobody is held any more. @returns as drop(), for all */
  clear(): PacketRest[] {
    const rests: PacketRest[] = [];
    for (const publisher of this.#held.keys()) {
      const held = this.drop(publisher);
      if (held !== undefined) rests.push(held.rest);
    }
    return rests;
  }

  /** When holders() is to be asked next; Infinity where nobody is held. */
  get lookDue(): number {
    return this.#holders.size === 0 ? NEVER : this.#lookedAt + STALL_LOOK_MS;
  }

  /** Those that hold others back. The caller flushes each, and asks stalledMs() of it. */
  holders(now: number): Connection[] {
    this.#lookedAt = now;
    return [...this.#holders.keys()];
  }

  /** Publishers that are to be told that they are held back; each once. */
  takeUntold(now: number): [publisher: Connection, held: Held][] {
    const untold: [Connection, Held][] = [];
    for (const [publisher, held] of this.#held) {
      if (held.isTold || now - held.since < HELD_TOLD_MS) continue;
      held.isTold = true;
      untold.push([publisher, held]);
    }
    return untold;
  }

  /** A subscriber that holds others back has shown that it is at work. */
  noteMoved(subscriber: Connection, now: number): void {
    const holder = this.#holders.get(subscriber);
    if (holder !== undefined) holder.movedAt = now;
  }

  /** Milliseconds for which a subscriber has held others back and taken nothing; -1: it does not. */
  stalledMs(subscriber: Connection, now: number): number {
    const holder = this.#holders.get(subscriber);
    if (holder === undefined) return -1;
    const { packetsSent } = subscriber.queue;
    if (holder.packetsSent !== packetsSent) {
      holder.packetsSent = packetsSent;
      holder.movedAt = now;
    }
    return Math.floor(now - holder.movedAt);
  }
}
