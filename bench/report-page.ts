/** The benchmark's results as one page that needs nothing else: plots, then every figure. */

import { contestantOf, groupByWork, type WorkResults } from "./comparison-table.ts";
import { CURVE_LEGEND, latencyCurves, latencyRanges, RANGE_LEGEND } from "./latency-plots.ts";
import { findLeads, kindOf, meritWords } from "./leads.ts";
import { type CostLine, costLines, extraBars, rateBars } from "./report-plots.ts";
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
import { escapeHtml } from "./svg-drawing.ts";

/** The works whose cost is drawn against the number of subscribers. */
const FAN_OUT = /^1 to (\d+), 64 B$/;

/**
 * Writes the page.
 * @param notes where the figures are from, who took part, who did not
 */
export function renderPage(results: readonly Result[], notes: readonly string[]): string {
  const works = groupByWork(results);
  const [first = "", ...others] = notes;
  const sections = works.map((work) => section(work.work, plotOf(work)));
  const lines = fanOutLines(works);
  const cost = "Relay's CPU for one delivery of 64 B, by the number of subscribers";
  if (lines.length > 0) sections.push(section(cost, costLines(cost, lines)));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>seqbus beside its peers</title><style>${STYLE}</style></head><body><main>
<header><h1>seqbus beside its peers</h1><p>${escapeHtml(first)}</p>
<ul>${others.map((note) => `<li>${escapeHtml(note)}</li>`).join("")}</ul></header>
${leads(results)}
<p class="legend">${LEGEND}<span>medians of the repeats, thin lines from the lowest to the highest; scales
are logarithmic but for memory</span></p>
${sections.join("\n")}
${allFigures(results)}
</main></body></html>
`;
}

function section(title: string, plot: string): string {
  return `<section><h2>${escapeHtml(title)}</h2>${plot}</section>`;
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
  const lines = new Map<string, { colour: string; points: CostLine["points"][number][] }>();
  for (const { work, results } of works) {
    if (!FAN_OUT.test(work)) continue;
    for (const result of results) {
      if (kindOf(result) === "npm" || kindOf(result) === "ours-library") continue;
      const who = contestantOf(result);
      const line = lines.get(who) ?? { colour: kindOf(result), points: [] };
      line.points.push({ subscribers: result.subscribers, cpuNs: result.relayCpuNs });
      lines.set(who, line);
    }
  }
  return [...lines]
    .map(([who, line]) => ({ who, ...line }))
    .filter(({ points }) => points.length > 1);
}

function leads(results: readonly Result[]): string {
  const rows = findLeads(results).map(({ work, clients, own, best, times }) => {
    const cells = [work, clients, meritWords(own), contestantOf(best), meritWords(best)];
    const grade = times.value >= 1 ? "won" : "lost";
    const line = cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("");
    return `<tr>${line}<td class="${grade}">${ratioWords(times, 2)} times</td></tr>`;
  });
  if (rows.length === 0) return "";
  const head = ["work", "clients", "seqbus", "best peer", "its figure", "ahead by"];
  const titles = head.map((title) => `<th>${title}</th>`).join("");
  return `<table class="leads"><thead><tr>${titles}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
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

const STYLE = `
:root{color-scheme:light dark;--page:#fbfaf8;--card:#fff;--text:#1d1c1a;--soft:#6c6862;--grid:#e7e3dc;
--floor:#b3ada3;--ours:#d2481f;--ours-library:#ee9a78;--peer:#2b6a8f;--npm:#93bdd4}
@media(prefers-color-scheme:dark){:root{--page:#161513;--card:#1f1e1b;--text:#ece8e1;--soft:#a09a90;
--grid:#35322d;--floor:#6f6a62;--ours:#ff7345;--ours-library:#a8512f;--peer:#5aa9d6;--npm:#33607a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:940px;margin:0 auto;padding:40px 20px 80px}
h1{font-size:30px;margin:0 0 8px;letter-spacing:-.02em}
h2{font-size:17px;margin:0 0 12px}
header p,header ul,.legend,.caption{color:var(--soft);font-size:13px;margin:0 0 6px;padding-left:0;list-style:none}
section,.leads,details{background:var(--card);border:1px solid var(--grid);border-radius:10px;
padding:18px 20px;margin:18px 0}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;margin:22px 0 0}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:7px}
svg{width:100%;height:auto;display:block;font:12px system-ui,sans-serif}
.grid{stroke:var(--grid)}.tick{fill:var(--soft);text-anchor:middle;font-size:11px}
.who{fill:var(--text);text-anchor:end}.value{fill:var(--text);font-variant-numeric:tabular-nums}
.spread{stroke:var(--text);stroke-width:1.5;opacity:.55}.range{stroke-width:4;stroke-linecap:round;opacity:.5}
.line{fill:none;stroke-width:2.5;stroke-linejoin:round}.name{font-size:11.5px}
${["floor", "ours", "ours-library", "peer", "npm"]
  .map(
    (colour) => `.legend .${colour}{background:var(--${colour})}
.bar.${colour},.mark.${colour},.name.${colour}{fill:var(--${colour})}
.range.${colour},.line.${colour}{stroke:var(--${colour})}`,
  )
  .join("\n")}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
table.leads{border-collapse:separate;border-spacing:0}
th{text-align:left;color:var(--soft);font-weight:500}th,td{padding:4px 10px 4px 0}
td{border-top:1px solid var(--grid)}.won{color:var(--ours);font-weight:600}.lost{color:var(--soft)}
summary{cursor:pointer}details table{margin-top:12px}details{overflow-x:auto}
@media(max-width:640px){section{overflow-x:auto}section svg{min-width:640px}}
`;
