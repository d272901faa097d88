/** What the benchmark prints and draws, from made-up results. */

import { describe, expect, test } from "bun:test";
import { formatComparisons } from "../../bench/comparison-table.ts";
import { latencyCurves } from "../../bench/latency-curves.ts";
import { PEER_KINDS } from "../../bench/peers/peer-kinds.ts";
import { renderPage } from "../../bench/report-page.ts";
import { STYLE } from "../../bench/report-style.ts";
import { namedLines } from "../../bench/svg-drawing.ts";
import { measurementOf, resultsOf, roundTripsOf } from "./results-fixture.ts";

const FLOORS = { "floor in TypeScript": [40e6], "floor in C": [50e6] };
const RESULTS = resultsOf("1 to 1, 64 B", {
  ...FLOORS,
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

describe("renderPage()", () => {
  const page = renderPage(RESULTS, ["made <up>", "absent: redis"]);

  test("needs nothing from elsewhere", () => {
    expect(page).not.toMatch(/src=|href="[^#]|@import|url\(/);
  });

  test("says how far seqbus is ahead of the best peer, and escapes what it is given", () => {
    expect(page).toContain('<td class="verdict">ahead by 10.00</td>');
    expect(page).toContain("made &lt;up&gt;");
    expect(page).toContain("absent: redis");
  });

  test("draws no figure that is not a number", () => {
    expect(page).toContain("<svg");
    expect(page).not.toContain("NaN");
    expect(page).not.toContain("undefined");
  });

  test("draws round trips as a range and as a distribution, in the units that suit them", () => {
    const figures = { "floor in C": [30, 40], "seqbus, raw": [2_000, 3_000] };
    const drawn = renderPage(resultsOf("ping-pong, 64 B, unpinned", figures, roundTripsOf), [""]);
    expect(drawn).toContain("2.50 ms / 2.50 ms</text>");
    expect(drawn).toContain(">1 ms</text>");
    expect(drawn).not.toContain(" k us");
    expect(drawn).toContain("circle: p50; bar: p99");
    expect(drawn.match(/<polyline class="line /g)).toHaveLength(2);
    expect(drawn).not.toMatch(/NaN|undefined/);
  });

  test("says what is behind before all else, and marks it in the table", () => {
    const lost = { ...FLOORS, "seqbus, raw": [3e6], "nats, raw": [6e6] };
    const drawn = renderPage(resultsOf("1 to 1, 64 B", lost), [""]);
    expect(drawn).toContain('<tr class="behind">');
    expect(drawn).toContain("▼ behind by 2.00");
    expect(drawn.indexOf('class="losses"')).toBeLessThan(drawn.indexOf('class="leads"'));
    expect(page).not.toContain('<tr class="behind">');
  });

  test("links to every work by its kind, and to nothing that is not there", () => {
    const links = [...page.matchAll(/href="#([^"]+)"/g)].map(([, anchor]) => anchor);
    expect(links).toEqual(["one-to-one", "1-to-1-64-b"]);
    for (const anchor of links) expect(page.split(`id="${anchor}"`)).toHaveLength(2);
  });

  test("shows the relay's CPU beside each bar", () => {
    expect(page.match(/class="cost" x="[\d.]+" y="\d+">10\.0 ns</g)).toHaveLength(4);
  });

  test("draws of many distributions ours, the floor in C and the best two of each kind of peer", () => {
    const ours = { "floor in TypeScript": [9], "floor in C": [8], "seqbus, raw": [90] };
    const raw = { "redis, raw": [30], "nats, raw": [10], "mosquitto, raw": [20] };
    const npm = { "redis, npm": [40], "nats, npm": [60], "mosquitto, npm": [50] };
    const all = resultsOf("ping-pong, 64 B, unpinned", { ...ours, ...raw, ...npm }, roundTripsOf);
    const drawn = latencyCurves("", all);
    const shown = [...drawn.matchAll(/<polyline class="line ([^"]+)"/g)].map(([, style]) => style);
    expect(shown.sort()).toEqual([
      "by-broker",
      "by-floor floor-c",
      "by-mosquitto",
      "by-mosquitto dashed",
      "by-nats",
      "by-redis dashed",
    ]);
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

/** Of two colours such as #fff or #1d1c1a, as WCAG 2 has it. */
function contrastOf(one: string, other: string): number {
  const [low = 0, high = 0] = [luminanceOf(one), luminanceOf(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function luminanceOf(colour: string): number {
  const digits = colour.length === 4 ? colour.slice(1).replace(/./g, "$&$&") : colour.slice(1);
  const [red = 0, green = 0, blue = 0] = [0, 2, 4].map((at) => {
    const share = Number.parseInt(digits.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

describe("STYLE", () => {
  const cards = STYLE.split("@media(prefers-color-scheme:dark)").map((part) => {
    return new Map(
      [...part.matchAll(/--([a-z-]+):(#[0-9a-f]+)/g)].map(([, name, it]) => [name, it]),
    );
  });

  test("has a contrast of 4.5 for all that is read, and of 3 for lines, on light and dark", () => {
    expect(cards).toHaveLength(2);
    for (const colours of cards) {
      const card = colours.get("card") ?? "";
      for (const name of ["text", "soft", "won", "lost", "link"]) {
        expect(contrastOf(colours.get(name) ?? card, card), name).toBeGreaterThan(4.5);
      }
      const lost = contrastOf(colours.get("lost") ?? card, colours.get("lost-card") ?? card);
      expect(lost).toBeGreaterThan(4.5);
      for (const relay of ["floor", "broker", ...PEER_KINDS]) {
        expect(contrastOf(colours.get(`by-${relay}`) ?? card, card), relay).toBeGreaterThan(3);
      }
    }
  });

  test("fills names with the colour of text", () => {
    expect(STYLE).toContain(".name{fill:var(--text)");
    expect(STYLE).not.toMatch(/\.name\.[a-z]/);
  });
});

describe("namedLines()", () => {
  test("gives each name room, none below the plot, and leads to it from its line", () => {
    const lines = ["a", "b", "c"].map((who) => ({
      who,
      style: "by-nats",
      points: [[5, 99]] as const,
    }));
    const drawn = namedLines(lines, 100);
    const heights = [...drawn.matchAll(/<text class="name" x="[\d.]+" y="([\d.]+)"/g)];
    expect(heights.map(([, y]) => Number(y) - 4)).toEqual([70, 85, 100]);
    const leaders = [...drawn.matchAll(/<polyline class="leader by-nats" points="([^"]+)"/g)];
    expect(leaders.map(([, points]) => points)).toEqual([
      "5.0,99.0 21.0,70.0 27.0,70.0",
      "5.0,99.0 21.0,85.0 27.0,85.0",
      "5.0,99.0 21.0,100.0 27.0,100.0",
    ]);
  });
});
