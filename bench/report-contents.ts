/** The order of the benchmark's page: its works by kind, and links to them. Pure text. */

import type { WorkResults } from "./comparison-table.ts";
import { escapeHtml } from "./svg-drawing.ts";

/** Works of one kind. */
export interface WorkGroup {
  readonly title: string;
  readonly works: readonly WorkResults[];
}

/** Works with many subscribers. */
export const TO_MANY = "One to many";

/** A work belongs to the first whose pattern its name matches. */
const GROUPS: readonly (readonly [title: string, pattern: RegExp])[] = [
  ["Round trips", /^ping-pong/],
  ["Calls", /^call /],
  ["Idle and at rest", /idle connections|^at rest/],
  ["Open files", /^fds /],
  ["Large messages", /(256 KiB|MiB)/],
  ["One to one", /^1 to 1,/],
  [TO_MANY, /^1 to /],
  ["Many topics, publishers and subscriptions", /./],
];

/** In which the groups stand on the page. */
const ORDER: readonly string[] = [
  "One to one",
  TO_MANY,
  "Many topics, publishers and subscriptions",
  "Round trips",
  "Calls",
  "Large messages",
  "Open files",
  "Idle and at rest",
];

/** The works by their kind; kinds without any are left out. */
export function groupByKind(works: readonly WorkResults[]): WorkGroup[] {
  const titleOf = (name: string): string =>
    GROUPS.find(([, pattern]) => pattern.test(name))?.[0] ?? "";
  return ORDER.map((title) => ({
    title,
    works: works.filter(({ work }) => titleOf(work) === title),
  })).filter((group) => group.works.length > 0);
}

/** Where on the page a title is. */
export function anchorOf(title: string): string {
  return title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** Links to all groups and works. */
export function contents(groups: readonly WorkGroup[]): string {
  const entries = groups.map(({ title, works }) => {
    const links = works.map(({ work }) => link(work)).join(" · ");
    return `<li><b>${link(title)}</b> ${links}</li>`;
  });
  return `<nav aria-label="Contents"><ul>${entries.join("")}</ul></nav>`;
}

function link(title: string): string {
  return `<a href="#${anchorOf(title)}">${escapeHtml(title)}</a>`;
}
