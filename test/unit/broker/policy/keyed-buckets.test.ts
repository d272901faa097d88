import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { IdBuckets, WildcardBuckets } from "../../../../src/broker/policy/keyed-buckets.ts";
import { RuleBucket } from "../../../../src/broker/policy/rule-bucket.ts";
import { wildcardMatches } from "../../../../src/broker/policy/wildcard-text.ts";

const makeBucket = () => new RuleBucket();

describe("IdBuckets", () => {
  const ID = fc.oneof(
    fc.nat({ max: 40 }),
    fc.integer({ min: 0, max: 4_294_967_294 }),
    fc.integer({ min: 65_530, max: 65_540 }),
  );
  const RANGE = fc.tuple(ID, ID).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));

  test("finds the bucket of every range that holds the id", () => {
    fc.assert(
      fc.property(fc.array(RANGE, { maxLength: 20 }), ID, (ranges, id) => {
        const buckets = new IdBuckets(makeBucket);
        const opened = ranges.map((range) => {
          const its = new Set<RuleBucket>();
          buckets.open(range, (bucket) => its.add(bucket));
          return its;
        });
        const found = new Set<RuleBucket>();
        buckets.find(id, (bucket) => found.add(bucket));

        for (const [at, { first, last }] of ranges.entries()) {
          const its = opened[at] ?? new Set();
          expect(its.size).toBeWithin(1, 3);
          if (id >= first && id <= last) expect(its.isDisjointFrom(found)).toBe(false);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("finds nothing far away from all ranges", () => {
    const buckets = new IdBuckets(makeBucket);
    buckets.open({ first: 1_000, last: 1_999 }, () => {});

    buckets.find(5_000, () => expect.unreachable("a bucket far away"));
    buckets.find(70_000, () => expect.unreachable("a bucket far away"));
  });

  test("keeps ids of one uid in one bucket", () => {
    const buckets = new IdBuckets(makeBucket);
    const opened: RuleBucket[] = [];
    for (const id of [7, 7, 8]) {
      buckets.open({ first: id, last: id }, (bucket) => opened.push(bucket));
    }

    expect(opened[0]).toBe(opened[1]);
    expect(opened[0]).not.toBe(opened[2]);
  });
});

describe("WildcardBuckets", () => {
  test("finds the bucket of every pattern that matches", () => {
    const pattern = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 5 });
    const text = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 5 });
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 10 }), text, (patterns, actual) => {
        const buckets = new WildcardBuckets(makeBucket);
        const opened = patterns.map((written) => buckets.open(written));
        const found = new Set<RuleBucket>();
        buckets.find(actual, (bucket) => found.add(bucket));

        for (const [at, written] of patterns.entries()) {
          const bucket = opened[at];
          if (bucket !== undefined && wildcardMatches(written, actual)) {
            expect(found.has(bucket)).toBe(true);
          }
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("leaves out patterns that begin otherwise", () => {
    const buckets = new WildcardBuckets(makeBucket);
    buckets.open("app-*");
    buckets.open("sensord.service");

    buckets.find("displayd.service", () => expect.unreachable("a bucket of another start"));
    buckets.find("app", () => expect.unreachable("a bucket of a longer start"));
  });
});
