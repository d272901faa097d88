/** What the benchmark prints and draws, from made-up results. */

import { describe, expect, test } from "bun:test";
import { formatComparisons } from "../../bench/comparison-table.ts";
import { formatLeads } from "../../bench/leads.ts";
import { renderPage } from "../../bench/report-page.ts";
import { measurementOf, resultsOf, roundTripsOf } from "./results-fixture.ts";

const RESULTS = resultsOf("1 to 1, 64 B", {
  "floor in TypeScript": [40e6],
  "floor in C": [50e6],
  "seqbus, raw": [30e6],
  "nats, raw": [3e6],
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

  test("draws round trips as a range and as a distribution, in the units that suit them", () => {
    const figures = { "floor in TypeScript": [30, 40], "seqbus, raw": [2_000, 3_000] };
    const drawn = renderPage(resultsOf("ping-pong, 64 B, unpinned", figures, roundTripsOf), [""]);
    expect(drawn).toContain("2.50 ms / 2.50 ms</text>");
    expect(drawn).toContain(">1 ms</text>");
    expect(drawn).not.toContain(" k us");
    expect(drawn).toContain("circle: p50; bar: p99");
    expect(drawn.match(/<polyline class="line /g)).toHaveLength(2);
    expect(drawn).not.toMatch(/NaN|undefined/);
  });

  test("shows extra figures beside all others, and at rest no deliveries", () => {
    const rest = resultsOf("at rest, nobody connected", { "seqbus, raw": [2] }, (name, value) => ({
      ...measurementOf(name, value),
      extra: [{ label: "RSS", value: 46, unit: "MiB" }],
    }));
    const row = /<tr><td>at rest.*<\/tr>/.exec(renderPage(rest, [""]))?.[0];
    expect(row).toContain("<td>RSS 46.0 MiB</td>");
    expect(row).toContain("seqbus, raw</td><td></td><td></td>");
    expect(row).not.toContain("ns<");
  });

  test("draws nothing of a distribution that is not known", () => {
    const figures = { "seqbus, raw": [30] };
    const results = resultsOf("ping-pong, 64 B, unpinned", figures, (name, us) => ({
      ...measurementOf(name, 1),
      p50Us: us,
      p99Us: us,
    }));
    expect(renderPage(results, [""])).not.toContain("<polyline");
  });
});
