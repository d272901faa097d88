/** Writes what the benchmark found: as JSON, as a page, as Markdown. */

import { rename } from "node:fs/promises";
import { renderMarkdown } from "./report-markdown.ts";
import { renderPage } from "./report-page.ts";
import type { Result } from "./results-table.ts";
import { headLines, type RunHead } from "./run-head.ts";
import { type Failure, failureLines } from "./turns.ts";

/** Where to; what is left out is not written. */
export interface ReportPaths {
  readonly json?: string | undefined;
  readonly html?: string | undefined;
  readonly markdown?: string | undefined;
}

/** All that a report says. */
export interface Report {
  readonly head: RunHead;
  /** Repeats that were asked for; each result says which it has. */
  readonly repeatsAsked: number;
  readonly failures: readonly Failure[];
  readonly results: readonly Result[];
}

/** The head, of how many repeats the figures are, what is special about some, and what failed, as lines. */
export function reportNotes(report: Report): string[] {
  const { head, repeatsAsked, failures, results } = report;
  const medians = `medians of ${repeatWords(report)} repeats in turns (lowest - highest)`;
  const figures = repeatsAsked === 1 ? "one repeat" : medians;
  return [...headLines(head), figures, ...coldLines(results), ...failureLines(failures)];
}

/** Some may have fewer than others: where one failed, or was not reached yet. */
function repeatWords({ repeatsAsked, results }: Report): string {
  const counts = results.map(({ repeats }) => repeats.filter((run) => run !== null).length);
  if (counts.length === 0) return `0 of ${repeatsAsked}`;
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  if (fewest === repeatsAsked) return `${repeatsAsked}`;
  return `${fewest === most ? fewest : `${fewest} to ${most}`} of ${repeatsAsked}`;
}

/** Figures that are not what they seem. */
function coldLines(results: readonly Result[]): string[] {
  return results.flatMap(({ name, repeats }) => {
    const cold = repeats.filter((run) => run?.isCold === true).length;
    const words = `over before the warm-up, so counted from the first message: ${name}`;
    return cold === 0 ? [] : [`${words} (${cold} of ${repeats.length} repeats)`];
  });
}

/** Writes all that is asked for. Whoever reads meanwhile finds the last report, or this one. */
export async function writeReport(report: Report, paths: ReportPaths): Promise<void> {
  const notes = reportNotes(report);
  const { json, html, markdown } = paths;
  if (json !== undefined) await replaceFile(json, `${JSON.stringify(report, undefined, 2)}\n`);
  if (html !== undefined) await replaceFile(html, renderPage(report.results, notes));
  if (markdown !== undefined) await replaceFile(markdown, renderMarkdown(report.results, notes));
}

async function replaceFile(path: string, text: string): Promise<void> {
  const unfinished = `${path}.part`;
  await Bun.write(unfinished, text);
  await rename(unfinished, path);
}
