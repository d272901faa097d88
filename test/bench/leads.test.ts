/** Who is ahead, who is behind, and how that is said: from made-up figures. */

import { describe, expect, test } from "bun:test";
import { leadsReport, leadWords, lossesOf } from "../../bench/lead-words.ts";
import { findLeads, type Lead, verdictOf } from "../../bench/leads.ts";
import type { ExtraFigure, Measurement } from "../../bench/measurement.ts";
import { renderMarkdown } from "../../bench/report-markdown.ts";
import { measurementOf, resultsOf, roundTripsOf } from "./results-fixture.ts";

const RATES = "1 to 1, 64 B";
const ROUND_TRIPS = "ping-pong, 64 B, unpinned";
const REST = "at rest, nobody connected";

/** The machine is twice as fast in the second repeat, and ten times in the third. */
const RATE_RESULTS = resultsOf(RATES, {
  "floor in TypeScript": [100, 200, 1_000],
  "floor in C": [200, 400, 2_000],
  "seqbus, raw": [50, 180, 700],
  "nats, raw": [5, 6, 10],
  "redis, raw": [4, 7, 20],
});

const SLOW_RESULTS = resultsOf(RATES, { "seqbus, raw": [5, 5, 5], "nats, raw": [6, 7, 8] });

/** What a relay takes: of all figures the same. */
function takesOf(...labels: string[]): (name: string, value: number) => Measurement {
  const figure = (label: string, value: number): ExtraFigure => ({ label, value, unit: "KiB" });
  return (name, value) => ({
    ...measurementOf(name, 1),
    extra: labels.map((label) => figure(label, value)),
  });
}

/** p99 is ten times p50, but for seqbus, where it is a hundred times that. */
function withLongTail(name: string, us: number): Measurement {
  const p99Us = us * (name.includes("seqbus") ? 100 : 10);
  return { ...roundTripsOf(name, us), p99Us };
}

function only(leads: readonly Lead[]): Lead {
  const [lead] = leads;
  if (lead === undefined || leads.length > 1) throw new Error(`There are ${leads.length} leads`);
  return lead;
}

describe("findLeads()", () => {
  test("compares within each repeat with the peer of the best median", () => {
    const lead = only(findLeads(RATE_RESULTS));
    expect(lead.best.name).toEndWith(": redis, raw");
    // 50 / 4, 180 / 7, 700 / 20
    expect(lead.times.lowest).toBe(12.5);
    expect(lead.times.value).toBeCloseTo(180 / 7);
    expect(lead.times.highest).toBe(35);
    expect(lead.ofFloor?.value).toBe(0.35);
  });

  test("finds less memory better than more", () => {
    const figures = { "seqbus, raw": [5, 6], "nats, raw": [20, 18], "redis, raw": [40, 42] };
    const results = resultsOf("1,000 idle connections", figures, takesOf("RSS a connection"));
    const lead = only(findLeads(results));
    expect(lead.best.name).toEndWith(": nats, raw");
    expect(lead.times).toEqual({ value: 3.5, lowest: 3, highest: 4 });
    expect(lead.ofFloor).toBeUndefined();
    expect(leadWords(lead)).toStartWith("takes 0.29 (0.25 - 0.33) times as much");
  });

  test("compares p50 and p99 of round trips, each with the peer that is best at it", () => {
    const figures = { "floor in C": [10], "seqbus, raw": [20], "nats, raw": [40] };
    const [p50, p99, ...others] = findLeads(resultsOf(ROUND_TRIPS, figures, withLongTail));
    expect(others).toEqual([]);
    expect([p50?.figure, p50?.times.value, p50?.ofFloor?.value]).toEqual(["p50", 2, 0.5]);
    expect([p99?.figure, p99?.times.value, p99?.ofFloor?.value]).toEqual(["p99", 0.2, 0.05]);
  });

  test("compares every figure of a relay at rest", () => {
    const figures = { "seqbus, raw": [2], "nats, raw": [1] };
    const leads = findLeads(resultsOf(REST, figures, takesOf("RSS", "wake-ups")));
    expect(leads.map(({ figure }) => figure)).toEqual(["RSS", "wake-ups"]);
  });

  test("compares nobody with peers of another kind of client", () => {
    expect(findLeads(resultsOf(RATES, { "seqbus, raw": [5], "nats, npm": [6] }))).toEqual([]);
  });
});

describe("verdictOf()", () => {
  test("is even where the rounded ratio is 1.00", () => {
    const verdict = (value: number) =>
      verdictOf({ times: { value, lowest: value, highest: value } });
    expect([1.004, 0.996, 1.006, 0.99].map(verdict)).toEqual(["even", "even", "ahead", "behind"]);
  });
});

describe("leadWords()", () => {
  test("says by how much seqbus is behind, and not a fraction that it is ahead by", () => {
    expect(leadWords(only(findLeads(SLOW_RESULTS)))).toMatch(/^behind by 1\.40 \(1\.20 - 1\.60\)$/);
  });

  test("says of a cost how many times as much it is", () => {
    const figures = { "seqbus, raw": [14], "nats, raw": [2] };
    const lead = only(findLeads(resultsOf(REST, figures, takesOf("RSS"))));
    expect(leadWords(lead)).toBe("takes 7.00 times as much");
    expect(verdictOf(lead)).toBe("behind");
  });

  test("makes no ratio of what only one takes, or neither", () => {
    const words = (own: number, peer: number) => {
      const figures = { "seqbus, raw": [own], "nats, raw": [peer] };
      return leadWords(only(findLeads(resultsOf(REST, figures, takesOf("wake-ups")))));
    };
    expect(words(3, 0)).toBe("behind, its peer takes none");
    expect(words(0, 3)).toBe("takes none");
    expect(words(0, 0)).toBe("even, neither takes any");
  });
});

describe("lossesOf()", () => {
  test("names each figure that was not won, both figures and the peer", () => {
    const { title, behind } = lossesOf(findLeads(SLOW_RESULTS));
    expect(title).toBe("Behind: not won are 1 of 1 comparisons with the best peer");
    expect(behind).toEqual([
      expect.stringMatching(/^1 to 1, 64 B, raw clients: rate 5, nats 7: behind by 1\.40/),
    ]);
  });

  test("says so where nothing is behind", () => {
    const { title, behind } = lossesOf(findLeads(RATE_RESULTS));
    expect(title).toBe("Behind: nothing, of 1 comparisons with the best peer");
    expect(behind).toEqual([]);
  });

  test("names what was won with more of the relay's CPU than the peer's takes", () => {
    const awake = (name: string, us: number): Measurement => ({
      ...roundTripsOf(name, us),
      relayCpuNs: name.includes("seqbus") ? 30 : 20,
    });
    const results = resultsOf(ROUND_TRIPS, { "seqbus, raw": [20], "nats, raw": [40] }, awake);
    expect(lossesOf(findLeads(results)).dearer).toEqual([
      `${ROUND_TRIPS}, raw clients: p50 ahead by 2.00, with 1.50 times the CPU of nats`,
      `${ROUND_TRIPS}, raw clients: p99 ahead by 2.00, with 1.50 times the CPU of nats`,
    ]);
    expect(lossesOf(findLeads(RATE_RESULTS)).dearer).toEqual([]);
  });
});

describe("leadsReport()", () => {
  test("says what of the floor in C is reached, and by how much the best peer is beaten", () => {
    expect(leadsReport(RATE_RESULTS)).toMatch(
      /\| rate +\| 180 +\| 0\.35 \(.*\| redis, raw \| 7 +\| ahead by 25\.71 /,
    );
  });

  test("says what is behind before the table, and marks it there", () => {
    const text = leadsReport(SLOW_RESULTS);
    expect(text).toMatch(/^\nBehind: not won are 1 of 1/);
    expect(text).toMatch(/\| ▼ behind by 1\.40/);
    expect(leadsReport(RATE_RESULTS)).not.toContain("▼");
  });

  test("says nothing where no peer took part", () => {
    expect(leadsReport(RATE_RESULTS.filter(({ relay }) => relay === "broker"))).toBe("");
  });
});

describe("renderMarkdown()", () => {
  test("has what is behind as a section before the table, in lines of the documents' width", () => {
    const text = renderMarkdown(SLOW_RESULTS, ["a"]);
    expect(text).toContain("## Behind: not won are 1 of 1");
    expect(text.indexOf("## Behind")).toBeLessThan(text.indexOf("## seqbus beside"));
    const prose = text.split("\n").filter((line) => !line.startsWith("|"));
    expect(Math.max(...prose.map(({ length }) => length))).toBeLessThanOrEqual(118);
  });
});
