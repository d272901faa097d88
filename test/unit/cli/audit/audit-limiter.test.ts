import { describe, expect, test } from "bun:test";
import {
  AUDIT_BURST_EVENTS,
  AUDIT_EVENTS_PER_SECOND,
  AUDIT_REFILL_MS,
  AUDIT_UIDS_MAX,
  AuditLimiter,
} from "../../../../src/cli/audit/audit-limiter.ts";

/** How many of so many events at one moment are written. */
function admitted(limiter: AuditLimiter, uid: number, events: number, now: number): number {
  let count = 0;
  for (let event = 0; event < events; event += 1) {
    if (limiter.admit(uid, now) !== undefined) count += 1;
  }
  return count;
}

/** A limiter whose users of their own are all taken, by the uids from 1 on. */
function crowdedLimiter(): AuditLimiter {
  const limiter = new AuditLimiter();
  for (let uid = 1; uid <= AUDIT_UIDS_MAX; uid += 1) limiter.admit(uid, 0);
  return limiter;
}

const OTHER_UID = AUDIT_UIDS_MAX + 1;

describe("AuditLimiter.admit()", () => {
  test("lets a burst through and no more", () => {
    expect(admitted(new AuditLimiter(), 7, 1_000, 0)).toBe(AUDIT_BURST_EVENTS);
  });

  test("lets through so many a second after the burst", () => {
    const limiter = new AuditLimiter();
    admitted(limiter, 7, AUDIT_BURST_EVENTS, 0);
    expect(admitted(limiter, 7, 1_000, 1_000)).toBe(AUDIT_EVENTS_PER_SECOND);
    expect(admitted(limiter, 7, 1_000, 1_000)).toBe(0);
  });

  test("saves up no more than a burst", () => {
    const limiter = new AuditLimiter();
    admitted(limiter, 7, AUDIT_BURST_EVENTS, 0);
    expect(admitted(limiter, 7, 1_000, 1_000_000)).toBe(AUDIT_BURST_EVENTS);
  });

  test("tells what was suppressed with the next event of that user, once", () => {
    const limiter = new AuditLimiter();
    admitted(limiter, 7, AUDIT_BURST_EVENTS + 5, 0);
    expect(limiter.admit(8, 0)).toEqual({ uid: 8, count: 0 });
    expect(limiter.admit(7, 1_000)).toEqual({ uid: 7, count: 5 });
    expect(limiter.admit(7, 1_000)).toEqual({ uid: 7, count: 0 });
  });

  test("gives each user a bucket", () => {
    const limiter = new AuditLimiter();
    admitted(limiter, 7, 10_000, 0);
    expect(admitted(limiter, 8, 1_000, 0)).toBe(AUDIT_BURST_EVENTS);
  });

  test("gives users beyond AUDIT_UIDS_MAX one bucket together", () => {
    const limiter = crowdedLimiter();
    expect(admitted(limiter, OTHER_UID, 60, 0)).toBe(60);
    expect(admitted(limiter, OTHER_UID + 1, 1_000, 0)).toBe(AUDIT_BURST_EVENTS - 60);
    expect(limiter.admit(OTHER_UID, 50)).toEqual({
      uid: undefined,
      count: 1_000 - AUDIT_BURST_EVENTS + 60,
    });
    expect(admitted(limiter, 1, 1_000, 50)).toBe(AUDIT_BURST_EVENTS);
  });

  test("has room for another user once one has been quiet until its bucket was full", () => {
    const limiter = crowdedLimiter();
    admitted(limiter, 2, 1, 1);
    expect(limiter.takeRefilled(AUDIT_REFILL_MS)).toBeUndefined();
    expect(limiter.admit(OTHER_UID, AUDIT_REFILL_MS)).toEqual({ uid: OTHER_UID, count: 0 });
  });
});

describe("AuditLimiter.takeRefilled()", () => {
  test("hands out the figure of a user who has been quiet, once", () => {
    const limiter = new AuditLimiter();
    admitted(limiter, 7, AUDIT_BURST_EVENTS + 5, 10);
    expect(limiter.nextRefillAt()).toBe(10 + AUDIT_REFILL_MS);
    expect(limiter.takeRefilled(limiter.nextRefillAt() - 1)).toBeUndefined();
    expect(limiter.untold).toBe(5);
    expect(limiter.takeRefilled(limiter.nextRefillAt())).toEqual({ uid: 7, count: 5 });
    expect(limiter.takeRefilled(Number.POSITIVE_INFINITY)).toBeUndefined();
    expect(limiter.untold).toBe(0);
  });

  test("hands out a figure in time though a user who came before is busy", () => {
    const limiter = new AuditLimiter();
    limiter.admit(7, 0);
    admitted(limiter, 8, AUDIT_BURST_EVENTS + 5, 1);
    limiter.admit(7, 2);
    expect(limiter.nextRefillAt()).toBe(1 + AUDIT_REFILL_MS);
    expect(limiter.takeRefilled(1 + AUDIT_REFILL_MS)).toEqual({ uid: 8, count: 5 });
  });

  test("hands out the figure of users without a bucket of their own", () => {
    const limiter = crowdedLimiter();
    admitted(limiter, OTHER_UID, AUDIT_BURST_EVENTS + 3, 10);
    expect(limiter.takeRefilled(9 + AUDIT_REFILL_MS)).toBeUndefined();
    expect(limiter.takeRefilled(10 + AUDIT_REFILL_MS)).toEqual({ uid: undefined, count: 3 });
  });

  test("is due never where nothing waits to be told", () => {
    const limiter = new AuditLimiter();
    limiter.admit(7, 0);
    expect(limiter.nextRefillAt()).toBe(Number.POSITIVE_INFINITY);
  });
});
