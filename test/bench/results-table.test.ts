/** Figures of several repeats, from made-up ones. */

import { describe, expect, test } from "bun:test";
import { formatWork } from "../../bench/comparison-table.ts";
import { formatTable, type Result, summarizeRepeats } from "../../bench/results-table.ts";
import { SCENARIOS } from "../../bench/scenarios.ts";
import { measurementOf, resultsOf, roundTripsOf } from "./results-fixture.ts";

const WORK = "1 to 1, 64 B";

function found(results: readonly Result[], who: string): Result {
  const result = results.find(({ name }) => name.endsWith(`: ${who}`));
  if (result === undefined) throw new Error(`There is no ${who}`);
  return result;
}

/** The machine is twice as fast in the second repeat, and ten times in the third. */
const RESULTS = resultsOf(WORK, {
  "floor in TypeScript": [100, 200, 1_000],
  "floor in C": [200, 400, 2_000],
  "seqbus, raw": [50, 180, 700],
  "nats, raw": [5, 6, 10],
  "redis, raw": [4, 7, 20],
});

describe("summarizeRepeats()", () => {
  test("takes ratios within each repeat, and then their median", () => {
    const { perSecond, ratio, ofFloorInC } = found(RESULTS, "seqbus, raw");
    expect(perSecond).toEqual({ value: 180, lowest: 50, highest: 700 });
    // That of the medians would be 0.9, and 0.45.
    expect(ratio).toEqual({ value: 0.7, lowest: 0.5, highest: 0.9 });
    expect(ofFloorInC).toEqual({ value: 0.35, lowest: 0.25, highest: 0.45 });
  });

  test("compares only repeats that both took part in", () => {
    const results = resultsOf(WORK, {
      "floor in TypeScript": [100, null, 100],
      "seqbus, raw": [50, 1_000, null],
    });
    const own = found(results, "seqbus, raw");
    expect(own.ratio).toEqual({ value: 0.5, lowest: 0.5, highest: 0.5 });
    expect(own.repeats.map((run) => run?.perSecond)).toEqual([50, 1_000, undefined]);
    expect(own.checked).toBe(2);
  });

  test("has no ratio where the baseline is absent, and says nothing of it", () => {
    const results = resultsOf(WORK, { "seqbus, raw": [50, 60] });
    expect(found(results, "seqbus, raw").ratio.value).toBeNaN();
    expect(formatWork(results)).not.toContain("NaN");
  });

  test("leaves out what was never measured", () => {
    expect(summarizeRepeats(SCENARIOS, [])).toEqual([]);
    expect(resultsOf(WORK, { "seqbus, raw": [null, null] })).toEqual([]);
  });

  test("keeps medians of round trips with their extremes, and of each quantile", () => {
    const work = "ping-pong, 64 B, unpinned";
    const results = resultsOf(work, { "seqbus, raw": [30, 50, 40] }, roundTripsOf);
    const { latency } = found(results, "seqbus, raw");
    expect(latency?.p50Us).toEqual({ value: 40, lowest: 30, highest: 50 });
    expect(latency?.quantilesUs).toEqual([40, 40, 40]);
  });

  test("keeps medians of extra figures with their extremes", () => {
    const work = "at rest, nobody connected";
    const results = resultsOf(work, { "seqbus, raw": [46, 44] }, (name, value) => ({
      ...measurementOf(name, 1),
      extra: [{ label: "RSS", value, unit: "MiB" }],
    }));
    expect(found(results, "seqbus, raw").extra).toEqual([
      { label: "RSS", value: 45, lowest: 44, highest: 46, unit: "MiB" },
    ]);
  });
});

describe("formatWork()", () => {
  test("shows CPU and peak RSS beside rates, round trips and idle connections", () => {
    const pings = resultsOf("ping-pong, 64 B, unpinned", { "seqbus, raw": [30, 40] }, roundTripsOf);
    const idle = resultsOf("1,000 idle connections", { "seqbus, raw": [30] });
    expect(formatWork(RESULTS)).toMatch(/\| CPU +\| RSS +\|/);
    expect(formatWork(pings)).toMatch(/\| CPU a round \| RSS +\|/);
    expect(formatWork(pings)).toContain("35.0 (30.0 - 40.0) us");
    expect(formatWork(idle)).toMatch(/\| CPU a connection \| peak RSS in all \|/);
  });

  test("shows how p50 is to that of each floor, within each repeat", () => {
    const figures = {
      "floor in TypeScript": [10, 100],
      "floor in C": [5, 50],
      "seqbus, raw": [20, 50],
    };
    const table = formatWork(resultsOf("ping-pong, 64 B, unpinned", figures, roundTripsOf));
    expect(table).toMatch(/seqbus, raw .*\| 1\.25 \(0\.50 - 2\.00\) +\| 2\.50 \(1\.00 - 4\.00\)/);
  });
});

describe("formatTable()", () => {
  test("names the baseline of each scenario", () => {
    const [floor, own] = SCENARIOS.slice(0, 2);
    if (floor === undefined || own === undefined) throw new Error("There are no scenarios");
    const runs = [floor, own].map(({ name }, at) => [name, measurementOf(name, 4 - at)] as const);
    const table = formatTable(summarizeRepeats([floor, own], [new Map(runs)]));
    expect(table).toContain("| itself ");
    expect(table).toMatch(new RegExp(`${own.name} .*\\| 0\\.75 +\\| ${floor.name} `));
  });
});
