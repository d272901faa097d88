import { describe, expect, test } from "bun:test";
import { FoldedSums, OTHERS } from "../../../../src/broker/figures/folded-sums.ts";
import { FOLDED_SUMS_MAX } from "../../../../src/broker/figures/limits.ts";

interface Count {
  count: number;
}

function sums(): FoldedSums<string, Count> {
  return new FoldedSums<string, Count>({
    zero: () => ({ count: 0 }),
    add(into, { count }) {
      into.count += count;
    },
  });
}

describe("FoldedSums", () => {
  test("adds under one key, and hands over what it has", () => {
    const folded = sums();
    folded.fold("a", { count: 1 });
    folded.fold("a", { count: 2 });
    expect([...folded.entries()]).toEqual([["a", { count: 3 }]]);
    expect(folded.take("a")).toEqual({ count: 3 });
    expect(folded.take("a")).toBeUndefined();
    expect([...folded.entries()]).toEqual([]);
  });

  test("keeps FOLDED_SUMS_MAX apart, those that were added to last, and loses nothing", () => {
    const folded = sums();
    for (let key = 0; key < FOLDED_SUMS_MAX; key += 1) folded.fold(`${key}`, { count: 1 });
    folded.fold("0", { count: 1 });
    for (let key = 0; key < 10; key += 1) folded.fold(`new ${key}`, { count: 1 });
    const kept = new Map(folded.entries());
    expect(kept.size).toBe(FOLDED_SUMS_MAX + 1);
    expect(kept.get("0")).toEqual({ count: 2 });
    expect(kept.get("1")).toBeUndefined();
    expect(kept.get(OTHERS)).toEqual({ count: 10 });
  });
});
