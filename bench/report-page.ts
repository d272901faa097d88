/** The benchmark's results as one page that needs nothing else: plots, then every figure. */

import { contestantOf, groupByWork, type WorkResults } from "./comparison-table.ts";
import { CURVE_LEGEND, latencyCurves } from "./latency-curves.ts";
import { latencyRanges, RANGE_LEGEND } from "./latency-plots.ts";
import { kindOf } from "./leads.ts";
import { anchorOf, contents, groupByKind, TO_MANY, type WorkGroup } from "./report-contents.ts";
import { leadCard, lossCard } from "./report-leads.ts";
import { type CostLine, costLines, extraBars, rateBars } from "./report-plots.ts";
import { STYLE } from "./report-style.ts";
import {
  cpuWords,
  extraWords,
  millions,
  rateRange,
  ratioWords,
  rssWords,
  timeSpread,
} from "./result-words.ts";
import type { Result } from "./results-table.ts";
import { escapeHtml, lineStyleOf } from "./svg-drawing.ts";

/** The works whose cost is drawn against the number of subscribers. */
const FAN_OUT = /^1 to (\d+), 64 B$/;

/**
 * Writes the page.
 * @param notes where the figures are from, who took part, who did not
 */
export function renderPage(results: readonly Result[], notes: readonly string[]): string {
  const works = groupByWork(results);
  const groups = groupByKind(works);
  const [first = "", ...others] = notes;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>seqbus beside its peers</title><style>${STYLE}</style></head><body><main>
<header><h1>seqbus beside its peers</h1><p>${escapeHtml(first)}</p>
<ul>${others.map((note) => `<li>${escapeHtml(note)}</li>`).join("")}</ul></header>
${lossCard(results)}
${contents(groups)}
${leadCard(results)}
<p class="legend">${LEGEND}<span>medians of the repeats, thin lines from the lowest to the highest; scales
are logarithmic but for memory; at the right the relay's CPU for one delivery or round trip</span></p>
${groups.map((group) => cardsOf(group, works)).join("\n")}
${allFigures(results)}
</main></body></html>
`;
}

function cardsOf({ title, works }: WorkGroup, all: readonly WorkResults[]): string {
  const cards = works.map((work) => card(work.work, plotOf(work)));
  const lines = title === TO_MANY ? fanOutLines(all) : [];
  const cost = "Relay's CPU for one delivery of 64 B, by the number of subscribers";
  if (lines.length > 0) cards.push(card(cost, costLines(cost, lines)));
  return `<h2 id="${anchorOf(title)}">${escapeHtml(title)}</h2>\n${cards.join("\n")}`;
}

function card(title: string, plot: string): string {
  const head = `<h3>${escapeHtml(title)}</h3>`;
  return `<section id="${anchorOf(title)}">${head}<div class="plot">${plot}</div></section>`;
}

const LEGEND = [
  ["floor", "bare relay, packet by packet"],
  ["ours", "seqbus, raw clients"],
  ["ours-library", "seqbus, its library"],
  ["peer", "peers, raw clients"],
  ["npm", "peers, npm clients"],
]
  .map(([colour, text]) => `<span><i class="${colour}"></i>${text}</span>`)
  .join("");

function plotOf({ work, results }: WorkResults): string {
  if (results.some(({ latency }) => latency !== undefined)) return latencyPlots(work, results);
  if (results.every(({ kind }) => kind === "idle" || kind === "rest")) {
    return captioned(results[0]?.extra[0]?.label ?? "", extraBars(work, results));
  }
  return rateBars(work, results);
}

function latencyPlots(work: string, results: readonly Result[]): string {
  const curves = latencyCurves(`${work}: distribution`, results);
  const ranges = captioned(RANGE_LEGEND, latencyRanges(work, results));
  return curves === "" ? ranges : ranges + captioned(CURVE_LEGEND, curves);
}

function captioned(words: string, plot: string): string {
  return `<p class="caption">${escapeHtml(words)}</p>${plot}`;
}

function fanOutLines(works: readonly WorkResults[]): CostLine[] {
  const lines = new Map<string, { style: string; points: CostLine["points"][number][] }>();
  for (const { work, results } of works) {
    if (!FAN_OUT.test(work)) continue;
    for (const result of results) {
      if (kindOf(result) === "npm" || kindOf(result) === "ours-library") continue;
      const who = contestantOf(result);
      const line = lines.get(who) ?? { style: lineStyleOf(result), points: [] };
      line.points.push({ subscribers: result.subscribers, cpuNs: result.relayCpuNs });
      lines.set(who, line);
    }
  }
  return [...lines]
    .map(([who, line]) => ({ who, ...line }))
    .filter(({ points }) => points.length > 1);
}

const FIGURE_HEAD = [
  "scenario",
  "a second",
  "low - high",
  "ratio",
  "of floor in C",
  "p50",
  "p99",
  "p99.9",
  "CPU",
  "RSS",
  "also",
];

function allFigures(results: readonly Result[]): string {
  const line = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join("")}</tr>`;
  const rows = results.map((result) => line(figuresOf(result), "td"));
  return `<details><summary>All figures</summary><table><thead>${line(FIGURE_HEAD, "th")}</thead><tbody>
${rows.join("\n")}</tbody></table></details>`;
}

/** At rest there are no deliveries: what there is stands in the last column. */
function figuresOf(result: Result): string[] {
  const { latency } = result;
  const rates = [
    millions(result.perSecond.value),
    rateRange(result.perSecond),
    ratioWords(result.ratio),
    ratioWords(result.ofFloorInC),
  ];
  return [
    result.name,
    ...(result.kind === "rest" ? rates.map(() => "") : rates),
    ...[latency?.p50Us, latency?.p99Us, latency?.p999Us].map((us) =>
      us === undefined ? "" : timeSpread(us),
    ),
    cpuWords(result),
    rssWords(result),
    result.extra.map(extraWords).join(", "),
  ];
}
