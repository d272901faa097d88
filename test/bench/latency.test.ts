/** Round-trip times: what is counted, and which percentiles come out. */

import { describe, expect, spyOn, test } from "bun:test";
import { RoundTrips } from "../../bench/latency.ts";
import { isTold, QUANTILE_SHARES, quantile } from "../../bench/quantiles.ts";
import type { WorkOrder } from "../../bench/work-order.ts";

/** Of an order RoundTrips reads these alone. */
function orderOf(times: Pick<WorkOrder, "warmUpMs" | "durationMs" | "messagesMax">): WorkOrder {
  return times as WorkOrder;
}

/** One round trip of each length, by a clock that stands still in between. */
function roundTripsOf(order: WorkOrder, lengthsMs: readonly number[]) {
  let now = 1_000;
  const clock = spyOn(performance, "now").mockImplementation(() => now);
  try {
    const trips = new RoundTrips(order);
    const goesOn = lengthsMs.map((ms) => {
      trips.begin();
      now += ms;
      return trips.end();
    });
    return { goesOn, report: trips.report() };
  } finally {
    clock.mockRestore();
  }
}

describe("RoundTrips", () => {
  test("reports percentiles and quantiles in microseconds, whatever the order of rounds", () => {
    const count = 100_000;
    const lengths = Array.from({ length: count }, (_, at) => ((at * 7) % count) / count);
    const order = orderOf({ warmUpMs: 0, durationMs: 1e6, messagesMax: 0xffff_ffff });
    const { report } = roundTripsOf(order, lengths);
    expect(report.rounds).toBe(count);
    expect(report.p50Us).toBeCloseTo(500);
    expect(report.p99Us).toBeCloseTo(990);
    expect(report.p999Us).toBeCloseTo(999);
    expect(report.quantilesUs).toHaveLength(QUANTILE_SHARES.length);
    expect(report.quantilesUs[0]).toBe(0);
    expect(report.quantilesUs.at(-1)).toBeCloseTo(999.9);
    expect(report.quantilesUs).toEqual(report.quantilesUs.toSorted((a, b) => a - b));
  });

  test("leaves out what fewer than ten rounds took longer than", () => {
    const order = orderOf({ warmUpMs: 0, durationMs: 1e6, messagesMax: 0xffff_ffff });
    const reportOf = (rounds: number) =>
      roundTripsOf(
        order,
        Array.from({ length: rounds }, () => 1),
      ).report;
    expect(reportOf(999)).not.toHaveProperty("p99Us");
    expect(reportOf(1_000)).toMatchObject({ p99Us: 1_000 });
    expect(reportOf(9_999)).not.toHaveProperty("p999Us");
    const { p999Us, quantilesUs } = reportOf(10_000);
    expect(p999Us).toBe(1_000);
    expect(quantilesUs).toHaveLength(QUANTILE_SHARES.length - 10);
  });

  test("leaves rounds of the warm-up out, and ends when the time is over", () => {
    const order = orderOf({ warmUpMs: 15, durationMs: 40, messagesMax: 0xffff_ffff });
    const { goesOn, report } = roundTripsOf(order, [10, 10, 10, 10]);
    expect(goesOn).toEqual([true, true, true, false]);
    expect(report.rounds).toBe(4);
    expect(report.p50Us).toBe(10_000);
  });

  test("ends with the last round that is asked for", () => {
    const order = orderOf({ warmUpMs: 0, durationMs: 1e6, messagesMax: 2 });
    expect(roundTripsOf(order, [1, 1]).goesOn).toEqual([true, false]);
  });

  test("reports nothing but zeros where there was no round", () => {
    const order = orderOf({ warmUpMs: 0, durationMs: 1, messagesMax: 1 });
    const { report } = roundTripsOf(order, []);
    expect(report).toEqual({ type: "latency", rounds: 0, p50Us: 0, quantilesUs: [] });
  });
});

describe("quantile()", () => {
  test("finds the middle, the ends, and nothing of none", () => {
    expect(quantile([1, 2, 3], 0.5)).toBe(2);
    expect(quantile([1, 2, 3], 0)).toBe(1);
    expect(quantile([1, 2, 3], 1)).toBe(3);
    expect(quantile([], 0.5)).toBe(0);
  });
});

describe("isTold()", () => {
  test("wants ten samples beyond", () => {
    expect(isTold(20, 0.5)).toBe(true);
    expect(isTold(19, 0.5)).toBe(false);
    expect(isTold(100_000, 0.9999)).toBe(true);
    expect(isTold(99_999, 0.9999)).toBe(false);
  });
});

describe("QUANTILE_SHARES", () => {
  test("go from all to the rarest that is drawn", () => {
    expect(QUANTILE_SHARES[0]).toBe(0);
    expect(QUANTILE_SHARES).toHaveLength(41);
    expect(QUANTILE_SHARES.at(-1)).toBeCloseTo(0.9999, 9);
  });
});
