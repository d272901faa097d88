/** What the benchmark prints and draws, from made-up results. */

import { describe, expect, test } from "bun:test";
import { formatComparisons } from "../../bench/comparison-table.ts";
import { COMPARISONS } from "../../bench/comparisons.ts";
import { formatLeads } from "../../bench/leads.ts";
import { renderPage } from "../../bench/report-page.ts";
import { summarizeRepeats } from "../../bench/results-table.ts";

const FIGURES = { checked: 1, relayCpuNs: 10, relayPeakRssMib: 5 };

function resultsOf(work: string, rates: Record<string, number>) {
  const scenarios = COMPARISONS.filter((scenario) => scenario.work === work);
  const repeat = new Map(
    scenarios.flatMap(({ name }) => {
      const perSecond = rates[name.slice(work.length + 2)];
      return perSecond === undefined ? [] : [[name, { ...FIGURES, name, perSecond }] as const];
    }),
  );
  return summarizeRepeats(scenarios, [repeat]);
}

const RESULTS = resultsOf("1 to 1, 64 B", {
  "floor in TypeScript": 40e6,
  "floor in C": 50e6,
  "seqbus, raw": 30e6,
  "nats, raw": 3e6,
});

describe("formatComparisons()", () => {
  test("shows who did a work beside both floors, and leaves out who did not", () => {
    const table = formatComparisons(RESULTS);
    expect(table).toMatch(/seqbus, raw +\| 30\.00 M +\| .* \| 0\.750 +\| 0\.600 /);
    expect(table).not.toContain("redis");
  });
});

describe("formatLeads()", () => {
  test("finds the best peer and says what of the floor in C is reached", () => {
    const table = formatLeads(RESULTS);
    expect(table).toMatch(/\| raw +\| 30\.00 M \| 0\.60 +\| nats, raw \| 3\.00 M +\| 10\.00 /);
  });

  test("says nothing where no peer took part", () => {
    expect(formatLeads(RESULTS.filter(({ relay }) => relay !== "nats"))).toBe("");
  });
});

describe("renderPage()", () => {
  const page = renderPage(RESULTS, ["made <up>", "absent: redis"]);

  test("needs nothing from elsewhere", () => {
    expect(page).not.toMatch(/(src|href)=|@import|url\(/);
  });

  test("says how far seqbus is ahead of the best peer, and escapes what it is given", () => {
    expect(page).toContain("10.00 times");
    expect(page).toContain("made &lt;up&gt;");
    expect(page).toContain("absent: redis");
  });

  test("draws no figure that is not a number", () => {
    expect(page).toContain("<svg");
    expect(page).not.toContain("NaN");
    expect(page).not.toContain("undefined");
  });
});
