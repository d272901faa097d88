/**
 * What schemas of a policy file are built from: lists, tables and numbers that say in words what
 * they expected. Knows no key of the language; those stand in policy-schema.ts.
 */

import * as v from "valibot";
import type { TomlPath } from "./toml-document.ts";

/** How valibot marks a key that a strict object does not have. */
const UNKNOWN_KEY = "never";

/** Something wrong in a policy file. */
export interface Problem {
  readonly path: TomlPath;
  /** What of it is wrong, and so where to point. */
  readonly origin: "key" | "value";
  readonly message: string;
  /** The error underneath, where there is one. */
  readonly cause?: unknown;
}

/** The part of a valibot issue that messages are made from. */
interface Issue {
  readonly input: unknown;
  readonly expected: string | null;
}

/** What a value is, as far as an error message should show it. Strings are cut, never raw. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") {
    const cut = value.length > 80 ? `${value.slice(0, 80)}…` : value;
    return JSON.stringify(cut);
  }
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (typeof value === "number") return `the float ${value}`;
  if (value instanceof Date) return "a date";
  return Array.isArray(value) ? "a list" : "a table";
}

/** The message for a value of the wrong kind. */
export function wrongValue(expected: string): (issue: Issue) => string {
  return (issue) => `Wrong value: got ${describeValue(issue.input)}, expected ${expected}`;
}

/** An integer of TOML, as number. */
export function integer(range: { readonly first: number; readonly last: number }) {
  const { first, last } = range;
  const message = (issue: Issue) =>
    `Wrong number: got ${describeValue(issue.input)}, expected ${first} to ${last}`;
  return v.pipe(
    v.bigint(wrongValue("a whole number")),
    v.minValue(BigInt(first), message),
    v.maxValue(BigInt(last), message),
    v.transform(Number),
  );
}

/** One word of a fixed list. */
export function oneOf<const Words extends readonly string[]>(words: Words, what: string) {
  return v.pipe(
    v.string(wrongValue(/^[aeiou]/.test(what) ? `an ${what}` : `a ${what}`)),
    v.picklist(
      words,
      (issue) =>
        `Unknown ${what} ${describeValue(issue.input)}, expected one of ${words.join(", ")}`,
    ),
  );
}

/** @param what the items, in the plural */
export function listOf<const Item extends v.GenericSchema>(item: Item, what: string) {
  return v.pipe(
    v.array(item, wrongValue(`a list of ${what}`)),
    v.minLength(1, `The list is empty, expected ${what}`),
  );
}

/** One item, or a list of them; a list either way once parsed. */
export function oneOrMany<const Item extends v.GenericSchema>(item: Item, what: string) {
  const one = v.pipe(
    item,
    v.transform((value) => [value]),
  );
  const many = listOf(item, what);
  return v.lazy((input) => (Array.isArray(input) ? many : one));
}

/**
 * valibot takes lists and dates for objects too; a TOML table is neither.
 * @param messages `missing` must hold for the one key that may not be left out
 */
export function tableOf<const Entries extends v.ObjectEntries>(
  entries: Entries,
  messages: { readonly expected: string; readonly missing?: string },
) {
  const keys = Object.keys(entries).join(", ");
  return v.pipe(
    v.custom<Record<string, unknown>>(isTable, wrongValue(messages.expected)),
    v.strictObject(entries, (issue) =>
      issue.expected === UNKNOWN_KEY
        ? `Unknown key ${describeValue(issue.input)}, expected one of ${keys}`
        : (messages.missing ?? "A key is missing"),
    ),
  );
}

/** All that valibot found, in no particular order. */
export function problemsOf(issues: readonly v.BaseIssue<unknown>[]): Problem[] {
  return withoutFollowUps(issues).map(problemOf);
}

function isTable(value: unknown): boolean {
  return typeof value === "object" && !Array.isArray(value) && !(value instanceof Date);
}

/** A key that is misspelt is also a key that is missing; only the first is worth telling. */
function withoutFollowUps(issues: readonly v.BaseIssue<unknown>[]): v.BaseIssue<unknown>[] {
  const misspelt = new Set<unknown>();
  for (const issue of issues) {
    if (issue.expected === UNKNOWN_KEY) misspelt.add(issue.path?.at(-1)?.input);
  }
  return issues.filter(
    (issue) =>
      issue.expected === UNKNOWN_KEY ||
      issue.path?.at(-1)?.origin !== "key" ||
      !misspelt.has(issue.path.at(-1)?.input),
  );
}

function problemOf(issue: v.BaseIssue<unknown>): Problem {
  const path: (string | number)[] = [];
  for (const item of issue.path ?? []) path.push(item.key as string | number);
  const last = issue.path?.at(-1);
  return { path, origin: last?.origin === "key" ? "key" : "value", message: issue.message };
}
