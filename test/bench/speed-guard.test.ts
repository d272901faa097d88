/** The guard against becoming slow: what it compares, and when it gives up. */

import { describe, expect, test } from "bun:test";
import { COMPARISONS } from "../../bench/comparisons.ts";
import { SCENARIOS } from "../../bench/scenarios.ts";
import { attemptGuard, GUARDS, type Guard } from "../../bench/speed-guard.ts";

const KNOWN = [...SCENARIOS, ...COMPARISONS];

describe("GUARDS", () => {
  for (const { floor, own, ratioMin } of GUARDS) {
    test(`compare "${own}" with the bare relay in TypeScript at the same work`, () => {
      const [beside, measured] = [floor, own].map((name) => KNOWN.find((at) => at.name === name));
      expect(beside?.relay).toBe("floor");
      expect(measured?.relay).toBe("broker");
      expect(measured?.kind).toBe(beside?.kind as never);
      expect(measured?.messageBytes).toBe(beside?.messageBytes as never);
      expect(ratioMin).toBeGreaterThan(0);
    });
  }
});

describe("attemptGuard()", () => {
  const guard: Guard = { floor: "floor", own: "own", ratioMin: 0.5 };

  /** Attempts with these ratios, one after the other. */
  function attempt(...ratios: number[]) {
    return attemptGuard(guard, 3, () => Promise.resolve(ratios.shift() as number));
  }

  test("is content with the first ratio that is enough", async () => {
    expect(await attempt(0.5)).toEqual({ holds: true, ratios: [0.5] });
    expect(await attempt(0.4, 0.1, 0.9)).toEqual({ holds: true, ratios: [0.4, 0.1, 0.9] });
  });

  test("fails where no attempt is enough", async () => {
    const outcome = await attempt(0.4, 0.49, 0.3, 0.9);
    expect(outcome).toEqual({ holds: false, ratios: [0.4, 0.49, 0.3] });
  });

  test("fails where a ratio is no number", async () => {
    expect((await attempt(Number.NaN, Number.NaN, Number.NaN)).holds).toBe(false);
  });
});
