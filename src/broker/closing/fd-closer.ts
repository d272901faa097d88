/**
 * Closes fds that came from clients, without ever waiting. What may hang goes to threads that are
 * started with the first such fd, one user at a time in each; the fds count as the user's until they
 * are really closed. Not for fds of the broker's own.
 */

import { assert } from "../../assert.ts";
import { closesAtOnce } from "../../ffi/fd-hazard.ts";
import { closeFd } from "../../ffi/owned-fd.ts";
import { NEVER } from "../deadlines.ts";
import type { BrokerEventListener } from "../events.ts";
import type { ClosingLane } from "./closing-thread.ts";
import {
  CLOSE_STUCK_MS,
  CLOSING_DRAIN_MS,
  CLOSING_GRACE_MS,
  CLOSING_LANES_MAX,
  CLOSING_LOOK_MS,
  CLOSING_RETRY_MS,
  CLOSING_RING_FDS,
  FDS_CLOSING_PER_UID_MAX,
} from "./limits.ts";

/** What a closer is made from; tests put their own in the places of the kernel and the clock. */
export interface FdCloserParts {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly onEvent: BrokerEventListener;
  /** Default: closesAtOnce() */
  readonly closesAtOnce?: (fd: number) => boolean;
  /** Default: closeFd(), for what closes at once. */
  readonly close?: (fd: number) => void;
  /** Fds of one user that may be pending. Default: FDS_CLOSING_PER_UID_MAX. */
  readonly perUidMax?: number | undefined;
  /** ClosingThread.open(): undefined where there is none to be had now. */
  readonly openLane: () => ClosingLane | undefined;
}

/** Fds of one user that are not closed yet. */
interface Account {
  readonly uid: number;
  /** Those that no lane has, oldest first. */
  readonly waiting: number[];
  /** All of them, those in a lane included. */
  pending: number;
  /** The lane that closes them. */
  at: Occupancy | undefined;
  /** When one of them was last seen to be closed, or the first of them came. */
  movedAt: number;
  /** When they were last counted, how many of those are left, … */
  countedAt: number;
  counted: number;
  /** … and how many of those of the time before. */
  overdue: number;
}

/** A lane and whose fds it closes. */
interface Occupancy {
  readonly lane: ClosingLane;
  /** Undefined: the lane is free. */
  account: Account | undefined;
  /** What the lane had open when it was last looked at. */
  open: number;
  isReported: boolean;
}

/** Closes fds of clients. One for a broker. */
export class FdCloser {
  /** Fds of one user that may be pending. */
  readonly perUidMax: number;
  readonly #parts: FdCloserParts;
  readonly #closesAtOnce: (fd: number) => boolean;
  readonly #close: (fd: number) => void;
  /** Users with fds that are pending; who has waited longest for a lane comes first. */
  readonly #accounts = new Map<number, Account>();
  readonly #lanes: Occupancy[] = [];
  /** How many users wait for a lane. */
  #inLine = 0;
  /** Fds that wait for a lane, or for their turn in one. */
  #waiting = 0;
  #pending = 0;
  /** Before it no lane is opened: the last attempt came to nothing. */
  #nextLaneAt = Number.NEGATIVE_INFINITY;

  constructor(parts: FdCloserParts) {
    this.#parts = parts;
    this.#closesAtOnce = parts.closesAtOnce ?? closesAtOnce;
    this.#close = parts.close ?? closeFd;
    this.perUidMax = parts.perUidMax ?? FDS_CLOSING_PER_UID_MAX;
  }

  /** Fds handed over and not known to be closed. settle() brings it up to date. */
  get pending(): number {
    return this.#pending;
  }

  /** Whether fds wait and nobody closes any, since no thread can be started. */
  get isStarved(): boolean {
    return this.#waiting > 0 && this.#lanes.length === 0;
  }

  /** As `pending`, of one user. */
  pendingOf(uid: number): number {
    return this.#accounts.get(uid)?.pending ?? 0;
  }

  /** Of these, those that have been pending for CLOSING_GRACE_MS; some count up to as much later. */
  overdueOf(uid: number): number {
    return this.#accounts.get(uid)?.overdue ?? 0;
  }

  /** Whether a user has so many of them that no more may be taken from it now. */
  isFull(uid: number): boolean {
    return this.#pending > 0 && this.pendingOf(uid) >= this.perUidMax;
  }

  /**
   * Whether a user is full and none of its fds has been closed for CLOSE_STUCK_MS. One that waits for
   * a lane is not: what hangs there is somebody else's.
   */
  isStuck(uid: number): boolean {
    const account = this.#accounts.get(uid);
    if (account?.at === undefined || account.pending < this.perUidMax) return false;
    return this.#parts.now() - account.movedAt >= CLOSE_STUCK_MS;
  }

  /**
   * Closes an fd, now or later. Never waits, and takes any number.
   * @param fd owned by the closer from here on
   * @param uid whose it is
   * @param atOnce the caller has looked, and closing it does not wait. Default false
   */
  close(fd: number, uid: number, atOnce = false): void {
    if (atOnce || this.#closesAtOnce(fd)) return this.#close(fd);
    const account = this.#accountOf(uid);
    account.pending += 1;
    this.#pending += 1;
    const { at } = account;
    // While others wait for a lane, this one is given back as soon as it has closed what it has.
    if (at !== undefined && this.#inLine === 0 && at.lane.open < CLOSING_RING_FDS) {
      at.open += 1;
      at.lane.push(fd);
      return;
    }
    if (at === undefined && account.waiting.length === 0) this.#inLine += 1;
    account.waiting.push(fd);
    this.#waiting += 1;
    this.#assignLanes();
  }

  /** Looks at what has been closed, and hands on what waits. To be called by deadline(). */
  settle(): void {
    const now = this.#parts.now();
    for (const occupancy of this.#lanes) this.#look(occupancy, now);
    if (this.#lanes.some(({ lane }) => lane.hasFailed)) this.#dropFailedLanes(now);
    for (const account of this.#accounts.values()) {
      if (now - account.countedAt >= CLOSING_GRACE_MS) count(account, now);
    }
    this.#assignLanes();
  }

  /** When settle() is to be called again; Infinity where there is nothing to wait for. */
  deadline(): number {
    let deadline = NEVER;
    for (const { account, isReported } of this.#lanes) {
      if (account === undefined || isReported) continue;
      deadline = Math.min(deadline, account.movedAt + CLOSE_STUCK_MS);
      // Nothing is read from this user until a look finds that some are closed.
      const isFull = account.pending >= this.perUidMax;
      if (isFull) deadline = Math.min(deadline, this.#parts.now() + CLOSING_LOOK_MS);
    }
    // Where all lanes hang, the next turn is early enough.
    const mayFindLane = deadline !== NEVER || this.#hasPlaceForLane();
    if (this.#waiting === 0 || !mayFindLane) return deadline;
    const lookAt = this.#parts.now() + CLOSING_LOOK_MS;
    return Math.min(deadline, this.isStarved ? Math.max(lookAt, this.#nextLaneAt) : lookAt);
  }

  /**
   * Ends the threads, after what is pending has had CLOSING_DRAIN_MS to be closed. What hangs even
   * then is told, and left to end without this process: see src/ffi/closing-process.ts.
   */
  async end(): Promise<void> {
    const endsAt = this.#parts.now() + CLOSING_DRAIN_MS;
    for (;;) {
      this.settle();
      if (this.#pending === 0 || this.#parts.now() >= endsAt) break;
      await Bun.sleep(1);
    }
    for (const occupancy of this.#lanes) {
      this.#report(occupancy);
      occupancy.lane.end();
    }
  }

  #accountOf(uid: number): Account {
    let account = this.#accounts.get(uid);
    if (account === undefined) {
      const movedAt = this.#parts.now();
      const counts = { countedAt: movedAt, counted: 0, overdue: 0 };
      account = { uid, waiting: [], pending: 0, at: undefined, movedAt, ...counts };
      this.#accounts.set(uid, account);
    }
    return account;
  }

  #look(occupancy: Occupancy, now: number): void {
    const { account, lane } = occupancy;
    if (account === undefined) return;
    const { open } = lane;
    const closed = occupancy.open - open;
    assert(closed >= 0, "a lane gets fds from nobody else");
    if (closed > 0) {
      occupancy.open = open;
      occupancy.isReported = false;
      account.movedAt = now;
      account.pending -= closed;
      account.counted = Math.max(0, account.counted - closed);
      account.overdue = Math.max(0, account.overdue - closed);
      this.#pending -= closed;
    }
    if (open === 0) this.#release(occupancy, account);
    else if (now - account.movedAt >= CLOSE_STUCK_MS) this.#report(occupancy);
  }

  /** Takes the lane from a user; where more of its fds wait, it goes to the end of the line. */
  #release(occupancy: Occupancy, account: Account): void {
    occupancy.account = undefined;
    account.at = undefined;
    this.#accounts.delete(account.uid);
    if (account.pending === 0) return;
    this.#accounts.set(account.uid, account);
    this.#inLine += 1;
  }

  #assignLanes(): void {
    if (this.#inLine === 0) return;
    for (const account of this.#accounts.values()) {
      if (account.at !== undefined) continue;
      const occupancy = this.#findLane();
      if (occupancy === undefined) return;
      this.#occupy(occupancy, account);
      if (this.#inLine === 0) return;
    }
  }

  /** A free lane; a new one only where those there are have made no progress for a while. */
  #findLane(): Occupancy | undefined {
    const now = this.#parts.now();
    let canWait = false;
    for (const occupancy of this.#lanes) {
      const { account } = occupancy;
      if (account === undefined) return occupancy;
      canWait ||= now - account.movedAt < CLOSING_LOOK_MS;
    }
    if (canWait || !this.#hasPlaceForLane() || now < this.#nextLaneAt) return undefined;
    const lane = this.#parts.openLane();
    if (lane === undefined) {
      this.#nextLaneAt = now + CLOSING_RETRY_MS;
      return undefined;
    }
    const occupancy = { lane, account: undefined, open: 0, isReported: false };
    this.#lanes.push(occupancy);
    return occupancy;
  }

  #hasPlaceForLane(): boolean {
    return this.#lanes.length < CLOSING_LANES_MAX;
  }

  /** What lanes that never came up were given waits again, and first. */
  #dropFailedLanes(now: number): void {
    this.#nextLaneAt = now + CLOSING_RETRY_MS;
    const failed = this.#lanes.filter(({ lane }) => lane.hasFailed);
    for (const occupancy of failed) {
      this.#lanes.splice(this.#lanes.indexOf(occupancy), 1);
      const fds = occupancy.lane.takeBack();
      const { account } = occupancy;
      assert(account !== undefined, "a lane has fds to close until it has come up");
      account.at = undefined;
      account.waiting.unshift(...fds);
      this.#waiting += fds.length;
      this.#inLine += 1;
    }
  }

  #occupy(occupancy: Occupancy, account: Account): void {
    const fds = account.waiting.splice(0, CLOSING_RING_FDS);
    for (const fd of fds) occupancy.lane.push(fd);
    occupancy.account = account;
    occupancy.open = fds.length;
    occupancy.isReported = false;
    this.#waiting -= fds.length;
    account.at = occupancy;
    account.movedAt = this.#parts.now();
    this.#inLine -= 1;
  }

  /** Told once for each fd that hangs. */
  #report(occupancy: Occupancy): void {
    const { account } = occupancy;
    if (account === undefined || occupancy.isReported) return;
    occupancy.isReported = true;
    const { uid, pending: count } = account;
    this.#parts.onEvent({ type: "fd-close-stuck", uid, count });
  }
}

/** The oldest are closed first, so those of the last count that are left have waited since. */
function count(account: Account, now: number): void {
  account.overdue = account.counted;
  account.counted = account.pending;
  account.countedAt = now;
}
