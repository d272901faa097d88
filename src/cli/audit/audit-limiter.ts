/**
 * Keeps one user from flooding the audit log: a token bucket for each uid. Pure; the time is handed
 * in. It only counts: what is written, and how, is audit-log.ts's matter.
 *
 * Invariant: each event is admitted, or is in exactly one `suppressed` figure that is handed out.
 *
 *   #buckets, the least recently used first:   uid 7 | uid 1000 | uid 33 ... at most AUDIT_UIDS_MAX
 *   #shared, for all users beyond them:        one bucket
 */

import { assert } from "../../assert.ts";

/** Events that a user may have written at once. Guess: a session's programs starting together. */
export const AUDIT_BURST_EVENTS = 100;

/** Events a second of one user afterwards. Guess: people can still read it, a disk does not notice. */
export const AUDIT_EVENTS_PER_SECOND = 20;

/**
 * Users with a bucket of their own at a time. Guess; the bound is there because a user may act
 * under 65,536 uids (user namespaces, subuid(5)). A bucket takes about 100 bytes.
 */
export const AUDIT_UIDS_MAX = 4_096;

/** Milliseconds after which any bucket is full again. */
export const AUDIT_REFILL_MS: number = (AUDIT_BURST_EVENTS / AUDIT_EVENTS_PER_SECOND) * 1_000;

/** A figure that has to be told. */
export interface Suppressed {
  /** Undefined for users that share a bucket. */
  readonly uid: number | undefined;
  /** How many events, 0 and more. */
  readonly count: number;
}

class Bucket {
  tokens = AUDIT_BURST_EVENTS;
  usedAt: number;
  suppressed = 0;

  constructor(now: number) {
    this.usedAt = now;
  }

  /** Counts one event. @returns whether it may be written */
  use(now: number): boolean {
    const gained = ((now - this.usedAt) / 1_000) * AUDIT_EVENTS_PER_SECOND;
    this.tokens = Math.min(AUDIT_BURST_EVENTS, this.tokens + gained);
    this.usedAt = now;
    if (this.tokens >= 1) {
      this.tokens -= 1;
      return true;
    }
    this.suppressed += 1;
    return false;
  }

  take(): number {
    const { suppressed } = this;
    this.suppressed = 0;
    return suppressed;
  }
}

/** Decides which events are written. */
export class AuditLimiter {
  readonly #buckets = new Map<number, Bucket>();
  readonly #shared = new Bucket(Number.NEGATIVE_INFINITY);
  #untold = 0;

  /** Events that were suppressed, and whose figure has not been handed out. */
  get untold(): number {
    return this.#untold;
  }

  /**
   * Counts one event of a user. Call takeRefilled() until it has nothing before this.
   * @param now milliseconds, never less than before
   * @returns the figure to tell with this event, or undefined where it must not be written
   */
  admit(uid: number, now: number): Suppressed | undefined {
    const own = this.#bucketOf(uid, now);
    const bucket = own ?? this.#shared;
    if (!bucket.use(now)) {
      this.#untold += 1;
      return undefined;
    }
    return this.#tell(own === undefined ? undefined : uid, bucket);
  }

  /**
   * A figure of a user who has been quiet until the bucket was full, and must not wait any longer.
   * Forgets such users.
   * @param now milliseconds; Infinity for every figure that is left
   * @returns undefined where there is none (any more)
   */
  takeRefilled(now: number): Suppressed | undefined {
    for (const [uid, bucket] of this.#buckets) {
      if (!isRefilled(bucket, now)) break;
      this.#buckets.delete(uid);
      if (bucket.suppressed > 0) return this.#tell(uid, bucket);
    }
    const isDue = this.#shared.suppressed > 0 && isRefilled(this.#shared, now);
    return isDue ? this.#tell(undefined, this.#shared) : undefined;
  }

  /** When takeRefilled() should be asked again: not later than the next figure is due. */
  nextRefillAt(): number {
    if (this.#untold === 0) return Number.POSITIVE_INFINITY;
    const [oldest] = this.#buckets.values();
    const shared = this.#shared.suppressed > 0 ? this.#shared.usedAt : Number.POSITIVE_INFINITY;
    return Math.min(oldest?.usedAt ?? Number.POSITIVE_INFINITY, shared) + AUDIT_REFILL_MS;
  }

  /** Also marks the bucket as the most recently used. Undefined where there are too many. */
  #bucketOf(uid: number, now: number): Bucket | undefined {
    const known = this.#buckets.get(uid);
    if (known === undefined && this.#buckets.size >= AUDIT_UIDS_MAX) return undefined;
    const bucket = known ?? new Bucket(now);
    this.#buckets.delete(uid);
    this.#buckets.set(uid, bucket);
    return bucket;
  }

  #tell(uid: number | undefined, bucket: Bucket): Suppressed {
    const count = bucket.take();
    this.#untold -= count;
    assert(this.#untold >= 0, "no event is told twice");
    return { uid, count };
  }
}

function isRefilled(bucket: Bucket, now: number): boolean {
  return now - bucket.usedAt >= AUDIT_REFILL_MS;
}
