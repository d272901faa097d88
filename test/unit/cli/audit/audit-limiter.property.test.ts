/** Whatever the users do: no event gets lost between the lines and the figures. */

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  AUDIT_BURST_EVENTS,
  AUDIT_EVENTS_PER_SECOND,
  AUDIT_UIDS_MAX,
  AuditLimiter,
  type Suppressed,
} from "../../../../src/cli/audit/audit-limiter.ts";

/** Users with buckets of their own, and some that find none left. */
const UIDS = [1, 2, AUDIT_UIDS_MAX + 1, AUDIT_UIDS_MAX + 2];

/** One user does something so often, after so many milliseconds. */
const deed = fc.record({
  uid: fc.constantFrom(...UIDS),
  events: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 50, max: 150 })),
  afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 6_000 })),
  asksRefilled: fc.boolean(),
});

/** What came of events, by whom the figures speak of. */
class Tally {
  readonly happened = new Map<number | undefined, number>();
  readonly accounted = new Map<number | undefined, number>();

  tell({ uid, count }: Suppressed, written: number): void {
    this.accounted.set(uid, (this.accounted.get(uid) ?? 0) + count + written);
  }

  happen(uid: number | undefined): void {
    this.happened.set(uid, (this.happened.get(uid) ?? 0) + 1);
  }
}

function tellRefilled(limiter: AuditLimiter, now: number, tally: Tally): void {
  for (let told = limiter.takeRefilled(now); told; told = limiter.takeRefilled(now)) {
    expect(told.count).toBeGreaterThan(0);
    tally.tell(told, 0);
  }
}

function total(figures: ReadonlyMap<number | undefined, number>): number {
  return [...figures.values()].reduce((sum, figure) => sum + figure, 0);
}

test("every event is written, or counted in exactly one figure, of the right user", () => {
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 40 }), fc.boolean(), (deeds, isCrowded) => {
      const limiter = new AuditLimiter();
      const tally = new Tally();
      const crowd = isCrowded ? AUDIT_UIDS_MAX : 0;
      for (let uid = 10_000; uid < 10_000 + crowd; uid += 1) limiter.admit(uid, 0);
      let now = 0;
      for (const { uid, events, afterMs, asksRefilled } of deeds) {
        now += afterMs;
        if (asksRefilled) tellRefilled(limiter, now, tally);
        for (let event = 0; event < events; event += 1) {
          tally.happen(uid);
          const told = limiter.admit(uid, now);
          if (told === undefined) continue;
          tally.tell(told, 1);
          if (told.uid !== undefined) expect(told.uid).toBe(uid);
        }
        expect(total(tally.accounted) + limiter.untold).toBe(total(tally.happened));
      }
      tellRefilled(limiter, Number.POSITIVE_INFINITY, tally);
      expect(limiter.untold).toBe(0);
      expect(total(tally.accounted)).toBe(total(tally.happened));
      if (!isCrowded) expect(tally.accounted).toEqual(tally.happened);
    }),
  );
});

test("no user is written more often than burst and rate allow, whatever the others do", () => {
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 40 }), (deeds) => {
      const limiter = new AuditLimiter();
      const written = new Map<number, number>();
      let now = 0;
      for (const { uid, events, afterMs, asksRefilled } of deeds) {
        now += afterMs;
        if (asksRefilled) limiter.takeRefilled(now);
        for (let event = 0; event < events; event += 1) {
          if (limiter.admit(uid, now) === undefined) continue;
          written.set(uid, (written.get(uid) ?? 0) + 1);
        }
        const most = AUDIT_BURST_EVENTS + (now / 1_000) * AUDIT_EVENTS_PER_SECOND;
        expect(Math.max(0, ...written.values())).toBeLessThanOrEqual(most);
      }
    }),
  );
});
