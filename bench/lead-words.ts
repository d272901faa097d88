/** The comparisons with the best peers as people read them: what is behind first, then all. Pure text. */

import { contestantOf } from "./comparison-table.ts";
import { findLeads, type Lead, verdictOf } from "./leads.ts";
import { formatRows, ratioWords } from "./result-words.ts";
import type { Result, Spread } from "./results-table.ts";

/** Stands before whatever is behind, so that the eye finds it. */
const BEHIND_MARK = "▼";

/** How peers were chosen, and what a ratio is. */
export const LEADS_METHOD =
  "The best peer is the one of the same kind of client with the best median of that figure. " +
  "Ratios are to that peer within each repeat: the median, and in brackets the lowest and the highest. " +
  "CPU is that of the relay for one delivery or round trip, by what the peer's takes.";

/** What was lost, and what was won at a price. */
export interface Losses {
  readonly title: string;
  readonly behind: readonly string[];
  /** Ahead or even, with more CPU in the relay than the peer's takes. */
  readonly dearer: readonly string[];
}

/** The titles of the columns of leadCells(). */
export const LEAD_HEAD = [
  "work",
  "clients",
  "figure",
  "seqbus",
  "of floor in C",
  "best peer",
  "its figure",
  "seqbus is",
  "CPU to its",
] as const;

/** One comparison as a row. */
export function leadCells(lead: Lead): string[] {
  const mark = verdictOf(lead) === "behind" ? `${BEHIND_MARK} ` : "";
  return [
    lead.work,
    lead.clients,
    lead.figure,
    lead.ownWords,
    ratioWords(lead.ofFloor, 2),
    contestantOf(lead.best),
    lead.bestWords,
    mark + leadWords(lead),
    ratioWords(lead.cpuTimes, 2),
  ];
}

/** How seqbus stands: costs are taken, in all else one is ahead or behind. */
export function leadWords(lead: Lead): string {
  const { times, isCost } = lead;
  if (Number.isNaN(times.value)) return "even, neither takes any";
  if (isCost) return costWords(times);
  const verdict = verdictOf(lead);
  if (verdict === "even") return `even, ${ratioWords(times, 2)}`;
  return `${verdict} by ${ratioWords(verdict === "ahead" ? times : inverse(times), 2)}`;
}

function costWords(times: Spread): string {
  if (times.value === 0) return "behind, its peer takes none";
  if (!Number.isFinite(times.value)) return "takes none";
  return `takes ${ratioWords(inverse(times), 2)} times as much`;
}

function inverse({ value, lowest, highest }: Spread): Spread {
  return { value: 1 / value, lowest: 1 / highest, highest: 1 / lowest };
}

/** What was not won, one line each. */
export function lossesOf(leads: readonly Lead[]): Losses {
  const behind = leads.filter((lead) => verdictOf(lead) === "behind");
  const dearer = leads.filter(
    (lead) => verdictOf(lead) !== "behind" && (lead.cpuTimes?.value ?? 0) >= 1.005,
  );
  const title =
    behind.length === 0
      ? `Behind: nothing, of ${leads.length} comparisons with the best peer`
      : `Behind: not won are ${behind.length} of ${leads.length} comparisons with the best peer`;
  return { title, behind: behind.map(lossLine), dearer: dearer.map(dearerLine) };
}

/** Stands before Losses.dearer. */
export const DEARER_TITLE = "Not behind, but the relay takes more CPU than the peer's";

function lossLine(lead: Lead): string {
  const { figure, ownWords, bestWords, best } = lead;
  const words = leadWords(lead);
  return `${placeOf(lead)}: ${figure} ${ownWords}, ${best.relay} ${bestWords}: ${words}`;
}

function dearerLine(lead: Lead): string {
  const { cpuTimes, figure, best } = lead;
  const cpu = `${ratioWords(cpuTimes, 2)} times the CPU of ${best.relay}`;
  return `${placeOf(lead)}: ${figure} ${leadWords(lead)}, with ${cpu}`;
}

function placeOf({ work, clients }: Lead): string {
  return `${work}, ${clients} clients`;
}

/** Title of the table of formatLeads(). */
export const LEADS_TITLE = "seqbus beside the best peer with the same kind of client";

/** A Markdown table of all comparisons; nothing where there are none. */
export function formatLeads(results: readonly Result[]): string {
  const leads = findLeads(results);
  return leads.length === 0 ? "" : formatRows(LEAD_HEAD, leads.map(leadCells));
}

/** For a terminal: what is behind, then the table; nothing where no peer took part. */
export function leadsReport(results: readonly Result[]): string {
  const leads = findLeads(results);
  if (leads.length === 0) return "";
  const { title, behind, dearer } = lossesOf(leads);
  const lines = [`\n${title}`, ...behind.map((line) => `- ${line}`)];
  if (dearer.length > 0) lines.push(`\n${DEARER_TITLE}`, ...dearer.map((line) => `- ${line}`));
  return [...lines, `\n${LEADS_TITLE}\n\n${formatLeads(results)}\n\n${LEADS_METHOD}`].join("\n");
}
