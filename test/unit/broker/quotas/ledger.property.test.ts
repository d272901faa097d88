/** What a ledger allows is what the limit of a connection says, in any state that charges can bring about. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { commonPart, Ledger } from "../../../../src/broker/quotas/ledger.ts";
import { commonLimit } from "../../../../src/broker/quotas/shares.ts";

const amount = fc.oneof(fc.nat(20), fc.nat(3_000), fc.nat(2 ** 40));

const state = fc.record({
  limit: amount,
  share: fc.nat(100),
  own: amount,
  isOpen: fc.boolean(),
  others: fc.array(fc.record({ held: amount, isOpen: fc.boolean() }), { maxLength: 5 }),
  more: fc.oneof(
    fc.integer({ min: 1, max: 10 }),
    amount.map((most) => most + 1),
  ),
});

/** One connection and its siblings. */
interface State {
  readonly limit: number;
  readonly share: number;
  readonly own: number;
  readonly isOpen: boolean;
  readonly others: readonly { readonly held: number; readonly isOpen: boolean }[];
}

function ledgerOf({ limit, share, own, isOpen, others }: State): Ledger {
  const ledger = new Ledger();
  ledger.limit = limit;
  ledger.share = share;
  for (const each of [{ held: own, isOpen }, ...others]) {
    // In two steps, and back again, so that the share is crossed in both directions.
    const shareNow = each.isOpen ? share : 0;
    ledger.move(0, each.held + 7, shareNow);
    ledger.move(each.held + 7, Math.floor(each.held / 2), shareNow);
    ledger.move(Math.floor(each.held / 2), each.held, shareNow);
  }
  return ledger;
}

/** As shares.ts has it, in words: its share, or two thirds of what others leave of the common part. */
function limitOf({ limit, share, others }: State): number {
  let held = 0;
  let common = 0;
  for (const each of others) {
    held += each.held;
    common += Math.max(0, each.held - (each.isOpen ? share : 0));
  }
  return Math.max(0, Math.min(limit - held, Math.max(share, commonLimit(limit, common))));
}

describe("Ledger", () => {
  test("keeps what is held, and what of it is within shares", () => {
    fc.assert(
      fc.property(state, (start) => {
        const { share } = start;
        const all = [{ held: start.own, isOpen: start.isOpen }, ...start.others];
        const within = all.map(({ held, isOpen }) => (isOpen ? Math.min(held, share) : 0));
        const ledger = ledgerOf(start);
        expect(ledger.used).toBe(all.reduce((sum, { held }) => sum + held, 0));
        expect(ledger.withinShares).toBe(within.reduce((sum, held) => sum + held, 0));
      }),
    );
  });

  test("allows exactly what its limit for the connection says", () => {
    fc.assert(
      fc.property(state, ({ more, ...start }) => {
        const ledger = ledgerOf(start);
        const shareNow = start.isOpen ? start.share : 0;
        const limit = limitOf(start);
        expect(ledger.limitFor(start.own, shareNow, 0, 0)).toBe(limit);
        for (const each of [more, limit - start.own, limit - start.own + 1]) {
          if (each < 1) continue;
          expect(ledger.allows(start.own, shareNow, each)).toBe(start.own + each <= limit);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("says what the limit will be once another has given something back", () => {
    fc.assert(
      fc.property(state, fc.nat(2 ** 40), (start, most) => {
        const [payer] = start.others;
        if (payer === undefined) return;
        const { share, own, isOpen } = start;
        const released = Math.min(most, payer.held);
        const ofPayer = payer.isOpen ? share : 0;
        const left = payer.held - released;
        const common = commonPart(payer.held, ofPayer) - commonPart(left, ofPayer);
        const after = { ...start, others: start.others.with(0, { ...payer, held: left }) };
        const limit = ledgerOf(start).limitFor(own, isOpen ? share : 0, released, common);
        expect(limit).toBe(limitOf(after));
      }),
      { numRuns: 500 },
    );
  });
});
