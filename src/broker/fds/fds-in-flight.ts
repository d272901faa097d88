/**
 * Copies of fds that are on their way to subscribers: who pays for them, and since when. A copy is
 * charged to its publisher before it is queued or sent anywhere, and until it is known to be taken,
 * lost or withdrawn. Counting and the clock; what is done about fds that stay is fd-sweep.ts's.
 */

import { assert } from "../../assert.ts";
import { FDS_UNWANTED } from "../../ffi/syscall-result.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import type { Deferred } from "../long-work/deferred.ts";
import { type ConnectionQuota, RESOURCE } from "../quotas/quota.ts";
import type { FdPayer } from "./fd-bundle.ts";
import type { FdOutletHost } from "./fd-outlet.ts";
import { FD_WAITERS_MAX } from "./limits.ts";

/** What became of fds, since the broker started. */
export interface FdCounters {
  /** The kernel had too many in flight, or the client had closed its lane. */
  refused: number;
  /** The client wants none. */
  unwanted: number;
  /** Nobody took them in time. */
  expired: number;
  /** Not sent to a client that has not taken earlier ones. */
  stalled: number;
}

/** All copies of one broker. */
export class FdsInFlight {
  readonly counters: FdCounters = { refused: 0, unwanted: 0, expired: 0, stalled: 0 };
  /** For FdAccount. */
  readonly deferred: Deferred;
  readonly #now: () => number;
  /** Copies that are charged. */
  #total = 0;
  #clock = 0;

  /**
   * @param now milliseconds, monotonic
   * @param deferred where those are told whose fds were taken: it may be in the middle of a queue
   */
  constructor(now: () => number, deferred: Deferred) {
    this.#now = now;
    this.deferred = deferred;
  }

  /** Whether any copy is on its way. */
  get isIdle(): boolean {
    return this.#total === 0;
  }

  /** The time of the last tick(): read once for a message and not for each receiver. */
  get clock(): number {
    return this.#clock;
  }

  /** Reads the clock. @returns milliseconds */
  tick(): number {
    this.#clock = this.#now();
    return this.#clock;
  }

  /** The account of a connection that publishes fds. */
  account(quota: ConnectionQuota): FdAccount {
    return new FdAccount(quota, this);
  }

  /** Counts the turns of the broker. */
  turn = 0;
  /** Several packets of one client are being read, one after the other: see FdOutletHost. */
  follow = false;

  /** How many wait for their copies to be taken: see FdAccount.whenIdle(). */
  waiters = 0;

  /** For FdAccount: so many copies more, or with a negative number less. */
  count(copies: number): void {
    this.#total += copies;
  }

  /**
   * What the outlet of one client needs.
   * @param client copied
   * @param onRefused told which client gets how many fds less, and why; shared by all clients
   */
  outletHost(client: FdClient, onRefused: RefusedFdsListener): FdOutletHost {
    return new ClientFdHost(this, client, onRefused);
  }
}

/** Who is to get fds. */
export interface FdClient {
  readonly id: number;
  readonly identity: PeerIdentity;
}

/** Told which client gets how many fds less, and why. */
export type RefusedFdsListener = (
  client: FdClient,
  reason: "unwanted" | "refused",
  fds: number,
) => void;

/** One for each connection, so it holds no closures and no other object. */
class ClientFdHost implements FdOutletHost, FdClient {
  readonly id: number;
  readonly identity: PeerIdentity;
  readonly #inFlight: FdsInFlight;
  readonly #onRefused: RefusedFdsListener;

  constructor(inFlight: FdsInFlight, { id, identity }: FdClient, onRefused: RefusedFdsListener) {
    this.id = id;
    this.identity = identity;
    this.#inFlight = inFlight;
    this.#onRefused = onRefused;
  }

  get fdClock(): number {
    return this.#inFlight.clock;
  }

  get fdsFollow(): boolean {
    return this.#inFlight.follow;
  }

  noteRefused(outcome: number, fds: number): void {
    const reason = outcome === FDS_UNWANTED ? "unwanted" : "refused";
    this.#inFlight.counters[reason] += fds;
    this.#onRefused(this, reason, fds);
  }
}

/** What one connection pays for. Outlives it, until the last copy is taken. */
export class FdAccount implements FdPayer {
  readonly #quota: ConnectionQuota;
  readonly #inFlight: FdsInFlight;
  #expired = 0;
  /** Fds of packets that are kept, which are charged and not on their way yet. */
  #kept = 0;
  /** So many were let go for the packet that is being handled: see charge(). */
  #place = 0;
  /** Undefined while nobody waits. */
  #onIdle: (() => void)[] | undefined;

  /** Made by FdsInFlight.account() alone. */
  constructor(quota: ConnectionQuota, inFlight: FdsInFlight) {
    this.#quota = quota;
    this.#inFlight = inFlight;
  }

  /** Copies on their way. */
  get waiting(): number {
    return this.charged - this.#kept;
  }

  /** Copies on their way, and fds that are kept. */
  get charged(): number {
    return this.#quota.used(RESOURCE.fds);
  }

  /** What may be charged at a time, as things are now. */
  get limit(): number {
    return this.#quota.limit(RESOURCE.fds);
  }

  /** Whether so many copies more would take the connection beyond half of its limit. */
  isStrainedBy(copies: number): boolean {
    return 2 * (this.charged + copies) > this.limit;
  }

  /**
   * Charges for fds of a packet that waits to be routed: none is on its way yet, so nobody who waits
   * until all are taken waits for these.
   * @returns false where they do not fit
   */
  keep(fds: number): boolean {
    if (!this.#quota.charge(RESOURCE.fds, fds)) return false;
    this.#kept += fds;
    return true;
  }

  /** So many are not kept any more. Until givePlaceUp(), copies of them have their place. */
  letGo(fds: number): void {
    this.#kept -= fds;
    assert(this.#kept >= 0, "no more fds are let go than were kept");
    this.#quota.release(RESOURCE.fds, fds);
    this.#place = fds;
  }

  /** The packet was handled whose fds were let go. */
  givePlaceUp(): void {
    this.#place = 0;
  }

  /**
   * Charges for copies, all of them or none. As many as were kept for their packet have their place,
   * whatever siblings took since then: what waited is not refused for that.
   * @returns false where they do not fit
   */
  charge(copies: number): boolean {
    const { user } = this.#quota;
    const hasPlace = copies <= this.#place;
    this.#place = 0;
    if (hasPlace && user.used(RESOURCE.fds) + copies <= user.limit(RESOURCE.fds)) {
      this.#quota.impose(RESOURCE.fds, copies);
    } else if (!this.#quota.charge(RESOURCE.fds, copies)) return false;
    this.#inFlight.count(copies);
    return true;
  }

  /** FdPayer */
  release(copies: number): void {
    this.#quota.release(RESOURCE.fds, copies);
    this.#inFlight.count(-copies);
    if (this.#onIdle !== undefined && this.waiting === 0) this.#tellIdle(this.#onIdle);
  }

  /** FdPayer */
  expire(copies: number): void {
    this.#expired += copies;
    this.#inFlight.counters.expired += copies;
    this.release(copies);
  }

  /** Copies that expired since the last call. */
  takeExpired(): number {
    const expired = this.#expired;
    this.#expired = 0;
    return expired;
  }

  /**
   * Calls back once no copy is on its way any more.
   * @returns false where none is, or where FD_WAITERS_MAX wait already: then it is not called
   */
  whenIdle(callback: () => void): boolean {
    const waiters = this.#onIdle ?? [];
    if (this.waiting === 0 || waiters.length >= FD_WAITERS_MAX) return false;
    waiters.push(callback);
    this.#onIdle = waiters;
    this.#inFlight.waiters += 1;
    return true;
  }

  #tellIdle(callbacks: readonly (() => void)[]): void {
    this.#onIdle = undefined;
    this.#inFlight.waiters -= callbacks.length;
    for (const callback of callbacks) this.#inFlight.deferred.add(callback);
  }
}
