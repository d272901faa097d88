/**
 * The shape of a policy file: which keys there are and what each may hold.
 *
 * Looks at one value at a time. What needs two values or the user database (who is meant, what
 * contradicts what) is rule-resolution.ts. A new key gets its line in RULE_ENTRIES here.
 */

import * as v from "valibot";
import { checkPattern } from "../../protocol/topics.ts";
import { ACTIONS } from "./rules.ts";
import type { TomlPath, TomlTable } from "./toml-document.ts";

/** The largest uid or gid: 2^32 - 1 means "no change" to the kernel and is nobody. */
export const ID_MAX = 4_294_967_294;

/** Rule ids travel in errors and logs, so they are short. Guess: no one needs longer ones. */
const RULE_ID_LENGTH_MAX = 64;

/** No `:` in it, so that no id looks like the `path:line` of a rule without one. */
const RULE_ID = new RegExp(`^[A-Za-z0-9._-]{1,${RULE_ID_LENGTH_MAX}}$`);

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

const PRINCIPAL_NAME = v.string(wrongValue("a name or a number"));

const PRINCIPAL_NUMBER = v.pipe(
  v.bigint(),
  v.minValue(0n, wrongRange),
  v.maxValue(BigInt(ID_MAX), wrongRange),
  v.transform(Number),
);

const PRINCIPAL = v.lazy((input) =>
  typeof input === "bigint" ? PRINCIPAL_NUMBER : PRINCIPAL_NAME,
);

const ONE_PRINCIPAL = v.pipe(
  PRINCIPAL,
  v.transform((principal) => [principal]),
);

const MANY_PRINCIPALS = listOf(PRINCIPAL, "names or numbers");

/** One name or number, or a list of them; a list either way once parsed. */
const PRINCIPALS = v.lazy((input) => (Array.isArray(input) ? MANY_PRINCIPALS : ONE_PRINCIPAL));

const ACTION = v.pipe(
  v.string(wrongValue("an action")),
  v.picklist(
    ACTIONS,
    (issue) =>
      `Unknown action ${describeValue(issue.input)}, expected one of ${ACTIONS.join(", ")}`,
  ),
);

const TOPIC_PATTERN = v.pipe(
  v.string(wrongValue("a topic pattern")),
  v.check(
    (pattern) => checkPattern(pattern) === undefined,
    (issue) => `Bad topic pattern ${describeValue(issue.input)}: ${checkPattern(issue.input)}`,
  ),
);

const RULE_ENTRIES = {
  allow: v.optional(listOf(ACTION, "actions")),
  deny: v.optional(listOf(ACTION, "actions")),
  topics: listOf(TOPIC_PATTERN, "topic patterns"),
  user: v.optional(PRINCIPALS),
  group: v.optional(PRINCIPALS),
  any: v.optional(v.literal(true, wrongValue('true, or no "any" at all'))),
  id: v.optional(
    v.pipe(
      v.string(wrongValue("a string")),
      v.regex(
        RULE_ID,
        (issue) =>
          `Bad rule id ${describeValue(issue.input)}, expected 1 to ${RULE_ID_LENGTH_MAX} ` +
          'letters, digits, ".", "_" and "-"',
      ),
    ),
  ),
};

const RULE = tableOf(RULE_ENTRIES, {
  expected: "a [[rule]] table",
  missing: 'The rule has no "topics", expected a list of topic patterns',
});

const NO_RULE = "No rule, expected at least one [[rule]]";

const POLICY_ENTRIES = {
  rule: v.pipe(v.array(RULE, wrongValue("[[rule]] tables")), v.minLength(1, NO_RULE)),
};

const POLICY = tableOf(POLICY_ENTRIES, { expected: "a table", missing: NO_RULE });

/** A rule as written, its values known to be of the right kind. */
export type RuleShape = v.InferOutput<typeof POLICY>["rule"][number];

/**
 * Checks the shape of a whole policy file.
 * @param root of the parsed document
 * @returns the rules in file order, or all that is wrong in no particular order
 */
export function checkPolicyShape(
  root: TomlTable,
): { readonly rules: readonly RuleShape[] } | { readonly problems: readonly Problem[] } {
  const result = v.safeParse(POLICY, root);
  if (result.success) return { rules: result.output.rule };
  return { problems: withoutFollowUps(result.issues).map(problemOf) };
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

function listOf<const Item extends v.GenericSchema>(item: Item, what: string) {
  return v.pipe(
    v.array(item, wrongValue(`a list of ${what}`)),
    v.minLength(1, `The list is empty, expected ${what}`),
  );
}

/**
 * valibot takes lists and dates for objects too; a TOML table is neither.
 * @param messages `missing` must hold for the one key that may not be left out
 */
function tableOf<const Entries extends v.ObjectEntries>(
  entries: Entries,
  messages: { readonly expected: string; readonly missing: string },
) {
  const keys = Object.keys(entries).join(", ");
  return v.pipe(
    v.custom<Record<string, unknown>>(isTable, wrongValue(messages.expected)),
    v.strictObject(entries, (issue) =>
      issue.expected === UNKNOWN_KEY
        ? `Unknown key ${describeValue(issue.input)}, expected one of ${keys}`
        : messages.missing,
    ),
  );
}

function isTable(value: unknown): boolean {
  return typeof value === "object" && !Array.isArray(value) && !(value instanceof Date);
}

function wrongValue(expected: string): (issue: Issue) => string {
  return (issue) => `Wrong value: got ${describeValue(issue.input)}, expected ${expected}`;
}

function wrongRange(issue: Issue): string {
  return `Wrong number: got ${describeValue(issue.input)}, expected 0 to ${ID_MAX}`;
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
