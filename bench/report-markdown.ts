/** The benchmark's results as one Markdown document: every table, and where they are from. Pure. */

import { formatWork, groupByWork } from "./comparison-table.ts";
import { DEARER_TITLE, formatLeads, LEADS_METHOD, LEADS_TITLE, lossesOf } from "./lead-words.ts";
import { findLeads } from "./leads.ts";
import { formatTable, type Result } from "./results-table.ts";

/** Columns of the documents. */
const LINE_WIDTH = 118;

const INTRODUCTION = `What one run of the benchmark printed, and nothing else: written by \`bun run bench --markdown\`.
[performance.md](performance.md) says what is measured and how.

- CPU is that of the relay for one delivery or round trip, RSS its peak; at rest CPU is a share of one core.
- Ratios are those of two figures of one repeat; shown is the median of the repeats, in brackets the lowest and the
  highest.`;

/**
 * Writes the document.
 * @param notes where the figures are from, who took part, who did not
 */
export function renderMarkdown(results: readonly Result[], notes: readonly string[]): string {
  const alone = results.filter(({ work }) => work === undefined);
  const works = groupByWork(results).map(({ work, results: members }) =>
    section(work, formatWork(members)),
  );
  return [
    `# The last run of the benchmark\n\n${INTRODUCTION}\n`,
    `${notes.map(entry).join("\n")}\n`,
    ...leadSections(results),
    ...works,
    ...(alone.length > 0 ? [section("seqbus alone", formatTable(alone))] : []),
  ].join("\n");
}

/** What is behind comes before the table that holds it among all else. */
function leadSections(results: readonly Result[]): string[] {
  const leads = findLeads(results);
  if (leads.length === 0) return [];
  const { title, behind, dearer } = lossesOf(leads);
  const table = `${formatLeads(results)}\n\n${wrapped(LEADS_METHOD, "")}`;
  return [
    section(title, behind.map(entry).join("\n")),
    ...(dearer.length > 0 ? [section(DEARER_TITLE, dearer.map(entry).join("\n"))] : []),
    section(LEADS_TITLE, table),
  ];
}

function section(title: string, content: string): string {
  return `## ${title}\n\n${content}\n`;
}

/** A list entry in lines of the width of the documents. */
function entry(note: string): string {
  return wrapped(note, "- ");
}

/** The first line begins with `mark`, the others below what follows it. */
function wrapped(text: string, mark: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && mark.length + line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  return mark + [...lines, line].join(`\n${" ".repeat(mark.length)}`);
}
