/** What the benchmark's page says first: what is behind, and every comparison. Pure text. */

import {
  DEARER_TITLE,
  LEAD_HEAD,
  LEADS_METHOD,
  LEADS_TITLE,
  leadCells,
  lossesOf,
} from "./lead-words.ts";
import { findLeads, verdictOf } from "./leads.ts";
import type { Result } from "./results-table.ts";
import { escapeHtml } from "./svg-drawing.ts";

/** What was not won; nothing where there is nobody to compare with. */
export function lossCard(results: readonly Result[]): string {
  const leads = findLeads(results);
  if (leads.length === 0) return "";
  const { title, behind, dearer } = lossesOf(leads);
  const dearerList = dearer.length === 0 ? "" : `<h3>${DEARER_TITLE}</h3>${listOf(dearer)}`;
  return `<section class="losses" id="behind"><h2>${title}</h2>${listOf(behind)}${dearerList}</section>`;
}

/** All comparisons as a table; nothing where there is nobody to compare with. */
export function leadCard(results: readonly Result[]): string {
  const leads = findLeads(results);
  if (leads.length === 0) return "";
  const rows = leads.map((lead) => {
    const cells = leadCells(lead).map((cell, column) => {
      const kind = LEAD_HEAD[column] === "seqbus is" ? ' class="verdict"' : "";
      return `<td${kind}>${unbroken(escapeHtml(cell))}</td>`;
    });
    return `<tr class="${verdictOf(lead)}">${cells.join("")}</tr>`;
  });
  const titles = LEAD_HEAD.map((head) => `<th>${head}</th>`).join("");
  return `<section id="comparisons"><h2>${LEADS_TITLE}</h2><p class="caption">${LEADS_METHOD}</p>
<div class="wide"><table class="leads"><thead><tr>${titles}</tr></thead><tbody>
${rows.join("\n")}</tbody></table></div></section>`;
}

/** Text whose extremes in brackets stay in one line. */
function unbroken(text: string): string {
  return text.replace(/\([\d.]+ - [\d.]+\)/, (extremes) => `<span>${extremes}</span>`);
}

function listOf(lines: readonly string[]): string {
  if (lines.length === 0) return "";
  return `<ul>${lines.map((line) => `<li>${escapeHtml(line)}</li>`).join("")}</ul>`;
}
