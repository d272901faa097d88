/** What the broker answers to questions, as tables for people. Pure. */

import type { QueryEntry } from "../client/index.ts";
import { printable } from "./printable-text.ts";
import { type Cell, sizeWords, tableLines, timeWords } from "./table.ts";

/** One column: its header, and what stands in it. */
interface Column {
  readonly header: string;
  readonly cell: (entry: QueryEntry) => Cell;
}

const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  clients: [
    plain("ID", "connection"),
    plain("UID", "uid"),
    plain("PID", "pid"),
    { header: "WHO", cell: whoOf },
    time("SINCE", "connectedMs"),
    plain("STATE", "state"),
    plain("TOPICS", "topics"),
    plain("SUBS", "subscriptions"),
    plain("PUBLISHED", "published"),
    plain("RECEIVED", "received"),
    plain("MISSED", "missed"),
    size("QUEUED", "queuedBytes"),
  ],
  services: [
    { header: "SERVICE", cell: ({ service }) => nameOf(service) },
    { header: "OWNERS", cell: ({ owners }) => listWords(owners) },
    plain("WAITING", "waiting"),
    plain("GENERATION", "generation"),
    plain("CALLS", "calls"),
    plain("FAILED", "callsFailed"),
    plain("REPLIES", "replies"),
  ],
  topics: [
    { header: "TOPIC", cell: ({ topic }) => nameOf(topic) },
    plain("PUBLISHERS", "publishers"),
    plain("PUBLISHED", "published"),
    plain("DELIVERED", "delivered"),
    plain("DROPPED", "dropped"),
  ],
  subscriptions: [
    plain("PATTERN", "pattern"),
    plain("GROUP", "group"),
    plain("OVERFLOW", "overflow"),
    plain("CONNECTION", "connection"),
    plain("UID", "uid"),
  ],
  uids: [
    { header: "UID", cell: ({ uid }) => nameOf(uid) },
    ...sumColumns(),
    { header: "QUEUED", cell: (entry) => sizeWords(usedOf(entry, "queuedBytes")) },
    { header: "RETAINED", cell: (entry) => sizeWords(usedOf(entry, "retainedBytes")) },
    { header: "FDS", cell: (entry) => usedOf(entry, "fds") },
  ],
  units: [{ header: "UNIT", cell: ({ unit }) => nameOf(unit) }, ...sumColumns()],
};

/** Of the broker, in words, in this order; others are told as they are called. */
const BROKER_SIZES = ["rssBytes", "queuedBytes", "publishedBytes", "receivedBytes"];

/** A list for `seqbus ls`. */
export function entryLines(list: string, entries: readonly QueryEntry[]): string[] {
  const columns = COLUMNS[list] ?? [];
  const rows = entries.map((entry) => columns.map(({ cell }) => cell(entry)));
  return tableLines(
    columns.map(({ header }) => header),
    rows,
  );
}

/** For `seqbus stats`. */
export function statsLines(stats: {
  readonly broker: QueryEntry;
  readonly uids: readonly QueryEntry[];
  readonly units: readonly QueryEntry[];
}): string[] {
  const lines = fieldLines(stats.broker);
  if (stats.uids.length > 0) lines.push("", ...entryLines("uids", stats.uids));
  if (stats.units.length > 0) lines.push("", ...entryLines("units", stats.units));
  return lines;
}

/** One client for `seqbus whois`: its fields, then its quotas. */
export function whoisLines({ quotas, ...client }: QueryEntry): string[] {
  const rows = Object.entries((quotas ?? {}) as Record<string, QueryEntry>).map(
    ([name, { used, limit, usedByUser, limitOfUser }]): Cell[] => [
      name,
      cellOf(used),
      cellOf(limit),
      cellOf(usedByUser),
      cellOf(limitOfUser),
    ],
  );
  const headers = ["QUOTA", "USED", "LIMIT", "OF ITS USER", "LIMIT"];
  return [...fieldLines(client), "", ...tableLines(headers, rows), ""];
}

/** `name  value` for each field; nested ones as `name.inner`. */
function fieldLines(entry: QueryEntry): string[] {
  const rows = flatten(entry);
  const width = Math.max(...rows.map(([name]) => name.length), 0);
  return rows.map(([name, value]) => printable(`${name.padEnd(width)}  ${value}`));
}

function flatten(entry: QueryEntry, prefix = ""): [name: string, value: string][] {
  return Object.entries(entry).flatMap(([key, value]): [string, string][] => {
    const name = `${prefix}${key}`;
    if (typeof value === "number" && BROKER_SIZES.includes(key)) return [[name, sizeWords(value)]];
    if (typeof value === "number" && key.endsWith("Ms")) {
      return [[name.slice(0, -2), timeWords(value)]];
    }
    if (Array.isArray(value)) return [[name, listWords(value) ?? ""]];
    if (typeof value === "object" && value !== null)
      return flatten(value as QueryEntry, `${name}.`);
    return [[name, String(value)]];
  });
}

function sumColumns(): Column[] {
  return [
    plain("OPEN", "connections"),
    plain("GONE", "connectionsGone"),
    plain("PUBLISHED", "published"),
    plain("RECEIVED", "received"),
    plain("MISSED", "missed"),
    plain("DENIED", "denied"),
    plain("CALLS", "calls"),
    plain("FAILED", "callsFailed"),
  ];
}

function plain(header: string, key: string): Column {
  return { header, cell: (entry) => cellOf(entry[key]) };
}

function size(header: string, key: string): Column {
  return { header, cell: (entry) => sizeWords(Number(entry[key] ?? 0)) };
}

function time(header: string, key: string): Column {
  return { header, cell: (entry) => timeWords(Number(entry[key] ?? 0)) };
}

/** The unit, else the program; nothing where the kernel did not say. */
function whoOf({ unit, exe }: QueryEntry): Cell {
  return cellOf(unit ?? exe);
}

/** The broker has null for those together that it does not keep apart. */
function nameOf(value: unknown): string {
  return value === null ? "others" : text(value);
}

function usedOf({ quotas }: QueryEntry, resource: string): number {
  const ofResource = (quotas as Record<string, { used?: number }> | undefined)?.[resource];
  return ofResource?.used ?? 0;
}

function cellOf(value: unknown): Cell {
  if (value === undefined || typeof value === "number") return value;
  return text(value);
}

function text(value: unknown): string {
  return String(value);
}

function listWords(value: unknown): string | undefined {
  return Array.isArray(value) ? value.join(" ") : undefined;
}
