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

/** The head and what failed, as lines. */
export function reportNotes({ head, repeatsAsked, failures }: Report): string[] {
  const medians = `medians of ${repeatsAsked} repeats in turns (lowest - highest)`;
  const figures = repeatsAsked === 1 ? "one repeat" : medians;
  return [...headLines(head), figures, ...failureLines(failures)];
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
