/**
 * How often each user may connect. A user who has come more often than that is let in at a steady
 * pace: a few sockets wait until it is their turn, and what is beyond them is turned away. So what it
 * costs others that a crowd connects all the time has a limit, however fast the crowd is.
 *
 * Counting and waiting; who is let in, and how somebody is turned away, is accepting.ts's. Pure.
 */

import { NEVER } from "../deadlines.ts";
import {
  NEWCOMERS_AT_ONCE,
  NEWCOMERS_KNOWN_MAX,
  NEWCOMERS_PER_SECOND,
  NEWCOMERS_WAITING_MAX,
} from "./limits.ts";

/** Milliseconds for each newcomer of one user. */
const INTERVAL_MS = 1_000 / NEWCOMERS_PER_SECOND;
/** How far ahead of that a user may be. */
const ADVANCE_MS = NEWCOMERS_AT_ONCE * INTERVAL_MS;

/** What becomes of a newcomer. */
export type Reception = "LET_IN" | "WAIT" | "TURN_AWAY";

/** A user who has come lately. */
interface Visitor {
  readonly uid: number;
  /** When all that came would have come, had they kept to the pace. */
  paidUntil: number;
  /** Sockets, oldest first. */
  readonly waiting: number[];
}

/** Users who have come lately. */
export class Newcomers {
  readonly #visitors = new Map<number, Visitor>();
  #forgetAbove = NEWCOMERS_KNOWN_MAX;
  /** Those with sockets that wait, in turn. */
  readonly #queue = new Set<Visitor>();
  readonly #waitingMax: number;
  #waiting = 0;

  /** @param waitingMax sockets that may wait, of all users together */
  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  /**
   * Somebody connects.
   * @param fd kept where the answer is WAIT, until shift() gives it back
   * @param now milliseconds, monotonic
   */
  receive(uid: number, fd: number, now: number): Reception {
    const visitor = this.#visitorOf(uid, now);
    const { waiting } = visitor;
    if (waiting.length === 0 && isOnTime(visitor, now)) {
      pay(visitor, now);
      return "LET_IN";
    }
    if (waiting.length >= NEWCOMERS_WAITING_MAX) return "TURN_AWAY";
    if (this.#waiting >= this.#waitingMax) return "TURN_AWAY";
    this.#waiting += 1;
    waiting.push(fd);
    this.#queue.add(visitor);
    return "WAIT";
  }

  /** @returns a socket whose turn has come, the caller's from now on; -1 where there is none */
  shift(now: number): number {
    for (const visitor of this.#queue) {
      if (!isOnTime(visitor, now)) continue;
      pay(visitor, now);
      const fd = visitor.waiting.shift() ?? -1;
      this.#waiting -= 1;
      // Behind the other users.
      this.#queue.delete(visitor);
      if (visitor.waiting.length > 0) this.#queue.add(visitor);
      return fd;
    }
    return -1;
  }

  /** When shift() gives something; Infinity where nobody waits. */
  deadline(): number {
    let earliest = NEVER;
    // Asked each turn; even an iterator over nothing would have to be made.
    if (this.#queue.size === 0) return earliest;
    for (const visitor of this.#queue) earliest = Math.min(earliest, onTimeAt(visitor));
    return earliest;
  }

  /** Gives all sockets back, with whose they are. */
  takeAll(): { fd: number; uid: number }[] {
    const all = [...this.#queue];
    this.#queue.clear();
    this.#waiting = 0;
    return all.flatMap(({ uid, waiting }) => waiting.splice(0).map((fd) => ({ fd, uid })));
  }

  #visitorOf(uid: number, now: number): Visitor {
    const known = this.#visitors.get(uid);
    if (known !== undefined) return known;
    if (this.#visitors.size >= this.#forgetAbove) this.#forget(now);
    const visitor: Visitor = { uid, paidUntil: now, waiting: [] };
    this.#visitors.set(uid, visitor);
    return visitor;
  }

  /** Forgets users who have not come for so long that it makes no difference. */
  #forget(now: number): void {
    for (const [uid, { paidUntil, waiting }] of this.#visitors) {
      if (paidUntil <= now && waiting.length === 0) this.#visitors.delete(uid);
    }
    // Where many were kept, so that not every newcomer after this looks through all of them.
    this.#forgetAbove = Math.max(NEWCOMERS_KNOWN_MAX, 2 * this.#visitors.size);
  }
}

function onTimeAt({ paidUntil }: Visitor): number {
  return paidUntil + INTERVAL_MS - ADVANCE_MS;
}

function isOnTime(visitor: Visitor, now: number): boolean {
  return onTimeAt(visitor) <= now;
}

function pay(visitor: Visitor, now: number): void {
  visitor.paidUntil = Math.max(visitor.paidUntil, now) + INTERVAL_MS;
}
