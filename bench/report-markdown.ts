/** The benchmark's results as one Markdown document: every table, and where they are from. Pure. */

import { formatWork, groupByWork } from "./comparison-table.ts";
import { formatLeads } from "./leads.ts";
import { formatTable, type Result } from "./results-table.ts";

/** Columns of the documents. */
const LINE_WIDTH = 118;

const INTRODUCTION = `What one run of the benchmark printed, and nothing else: written by \`bun run bench --markdown\`.
[performance.md](performance.md) says what is measured and how, and what was not won.

- CPU is that of the relay for one delivery or round trip, RSS its peak; at rest CPU is a share of one core.
- Ratios are those of two figures of one repeat; shown is the median of the repeats, in brackets the lowest and the
  highest.`;

/**
 * Writes the document.
 * @param notes where the figures are from, who took part, who did not
 */
export function renderMarkdown(results: readonly Result[], notes: readonly string[]): string {
  const alone = results.filter(({ work }) => work === undefined);
  const leads = formatLeads(results).split("\n").slice(1);
  const [title = "", , ...table] = leads;
  const works = groupByWork(results).map(({ work, results: members }) =>
    section(work, formatWork(members)),
  );
  return [
    `# The last run of the benchmark\n\n${INTRODUCTION}\n`,
    `${notes.map(entry).join("\n")}\n`,
    ...(table.length > 0 ? [section(title, table.join("\n"))] : []),
    ...works,
    ...(alone.length > 0 ? [section("seqbus alone", formatTable(alone))] : []),
  ].join("\n");
}

function section(title: string, content: string): string {
  return `## ${title}\n\n${content}\n`;
}

/** A list entry in lines of the width of the documents. */
function entry(note: string): string {
  const lines: string[] = [];
  let line = "-";
  for (const word of note.split(" ")) {
    if (line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = " ";
    }
    line += ` ${word}`;
  }
  return [...lines, line].join("\n");
}
