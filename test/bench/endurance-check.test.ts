/** What a run at full load must not show. */

import { describe, expect, test } from "bun:test";
import {
  enduranceFaults,
  GROWTH_KIB_MAX,
  memoryGrowth,
  PAUSE_MS_MAX,
} from "../../bench/endurance-check.ts";

const STEADY = { first: 60_000, last: 60_000 };

describe("memoryGrowth()", () => {
  test("tells the first tenth and the last by their medians", () => {
    const rssKib = [...Array.from({ length: 17 }, () => 100), 300, 200, 400];
    expect(memoryGrowth(rssKib)).toEqual({ first: 100, last: 300 });
  });

  test("knows nothing where nobody looked", () => {
    expect(memoryGrowth([])).toEqual({ first: Number.NaN, last: Number.NaN });
  });
});

describe("enduranceFaults()", () => {
  test("finds none up to the limits", () => {
    const grown = { first: 60_000, last: 60_000 + GROWTH_KIB_MAX };
    expect(enduranceFaults([1, PAUSE_MS_MAX], grown)).toEqual([]);
  });

  test("counts pauses that were too long", () => {
    expect(enduranceFaults([5.1, 1, 9], STEADY)).toEqual(["2 pauses were longer than 5 ms"]);
  });

  test("tells by how much memory grew", () => {
    const grown = { first: 60_000, last: 60_000 + GROWTH_KIB_MAX + 1024 };
    expect(enduranceFaults([], grown)).toEqual(["The memory grew by 17.0 MiB, more than 16.0"]);
  });

  test("takes memory that nobody looked at for a fault", () => {
    expect(enduranceFaults([], memoryGrowth([]))).toHaveLength(1);
  });
});
