/**
 * The shape of a policy file: which keys there are and what each may hold.
 *
 * Looks at one value at a time. What needs two values or the user database (who is meant, what
 * contradicts what) is rule-resolution.ts and setting-resolution.ts. A new key gets its line in
 * the entries here.
 */

import { normalize } from "node:path/posix";
import * as v from "valibot";
import { FD_KINDS } from "../../fd-kinds.ts";
import { checkPattern } from "../../protocol/topics.ts";
import { OVERFLOW_POLICIES } from "../../protocol/words.ts";
import { ACTIONS, FDS_DENIED_POLICIES, type IdRange, type LIMIT_KEYS } from "./rules.ts";
import type { TomlTable } from "./toml-document.ts";
import {
  describeValue,
  integer,
  listOf,
  oneOf,
  oneOrMany,
  type Problem,
  problemsOf,
  tableOf,
  wrongValue,
} from "./value-schema.ts";

/** The largest uid or gid: 2^32 - 1 means "no change" to the kernel and is nobody. */
export const ID_MAX = 4_294_967_294;

/** Rule ids travel in errors and logs, so they are short. Guess: no one needs longer ones. */
const RULE_ID_LENGTH_MAX = 64;

/** No `:` in it, so that no id looks like the `path:line` of a rule without one. */
const RULE_ID = new RegExp(`^[A-Za-z0-9._-]{1,${RULE_ID_LENGTH_MAX}}$`);

/** The kernel's longest path, and more than any unit or label has. */
const WILDCARD_LENGTH_MAX = 4_096;

/** Of a policy without rules, in all its files. */
export const NO_RULE = "No rule, expected at least one [[rule]]";

const ID_NUMBER = integer({ first: 0, last: ID_MAX });

const PRINCIPAL_NAME = v.string(wrongValue("a name or a number"));

const PRINCIPAL = v.lazy((input) => (typeof input === "bigint" ? ID_NUMBER : PRINCIPAL_NAME));

const PRINCIPALS = oneOrMany(PRINCIPAL, "names or numbers");

const UID_RANGE_WORDS = 'a uid, or a range such as "1000-1999"';

const UID_RANGE = v.pipe(
  v.string(wrongValue(UID_RANGE_WORDS)),
  v.regex(/^[0-9]{1,10}-[0-9]{1,10}$/, wrongValue(UID_RANGE_WORDS)),
  v.transform(rangeOf),
  v.check(
    ({ first, last }) => first <= last && last <= ID_MAX,
    ({ input: { first, last } }) =>
      `Wrong range: got ${first}-${last}, expected a first and a last of 0 to ${ID_MAX}`,
  ),
);

const ONE_UID = v.pipe(
  ID_NUMBER,
  v.transform((id): IdRange => ({ first: id, last: id })),
);

const UIDS = oneOrMany(
  v.lazy((input) => (typeof input === "bigint" ? ONE_UID : UID_RANGE)),
  "uids or ranges",
);

const UNITS = wildcardTexts("a unit, such as sensord.service", isUnit);

const EXES = wildcardTexts("an absolute path", isAbsolutePath);

const LABELS = wildcardTexts("a label", () => true);

const TOPIC_PATTERN = v.pipe(
  v.string(wrongValue("a topic pattern")),
  v.check(
    (pattern) => checkPattern(pattern) === undefined,
    (issue) => `Bad topic pattern ${describeValue(issue.input)}: ${checkPattern(issue.input)}`,
  ),
);

const TOPICS = listOf(TOPIC_PATTERN, "topic patterns");

const ACTION_LIST = v.optional(listOf(oneOf(ACTIONS, "action"), "actions"));

const RULE_ENTRIES = {
  allow: ACTION_LIST,
  deny: ACTION_LIST,
  topics: TOPICS,
  user: v.optional(PRINCIPALS),
  uid: v.optional(UIDS),
  group: v.optional(PRINCIPALS),
  unit: v.optional(UNITS),
  exe: v.optional(EXES),
  label: v.optional(LABELS),
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

const TOPIC_ENTRIES = {
  topics: TOPICS,
  fds: v.optional(listOf(oneOf(FD_KINDS, "kind of file"), "kinds of files")),
  "message-bytes-max": v.optional(integer({ first: 1, last: Number.MAX_SAFE_INTEGER })),
  retain: v.optional(v.boolean(wrongValue("true or false"))),
  overflow: v.optional(oneOf(OVERFLOW_POLICIES, "overflow policy")),
  "fds-denied": v.optional(oneOf(FDS_DENIED_POLICIES, "word")),
};

const TOPIC = tableOf(TOPIC_ENTRIES, {
  expected: "a [[topic]] table",
  missing: 'The setting has no "topics", expected a list of topic patterns',
});

const LIMIT_VALUE = v.optional(integer({ first: 0, last: Number.MAX_SAFE_INTEGER }));

/** A time of 0 would be over before anybody could do anything; a day is as good as no limit. */
const MILLISECONDS = v.optional(integer({ first: 1, last: 86_400_000 }));

const LIMIT_ENTRIES = {
  connections: LIMIT_VALUE,
  subscriptions: LIMIT_VALUE,
  groups: LIMIT_VALUE,
  topics: LIMIT_VALUE,
  services: LIMIT_VALUE,
  "queued-bytes": LIMIT_VALUE,
  retained: LIMIT_VALUE,
  "retained-bytes": LIMIT_VALUE,
  fds: LIMIT_VALUE,
  "pending-calls": LIMIT_VALUE,
  "message-bytes": LIMIT_VALUE,
  "fd-ttl-ms": MILLISECONDS,
  "stall-ms": MILLISECONDS,
} satisfies Record<(typeof LIMIT_KEYS)[number], unknown>;

const LIMITS_USER = tableOf(
  { user: v.optional(PRINCIPALS), uid: v.optional(UIDS), ...LIMIT_ENTRIES },
  { expected: "a [[limits.user]] table" },
);

const LIMITS = tableOf(
  {
    ...LIMIT_ENTRIES,
    user: v.optional(tables(LIMITS_USER, "[[limits.user]]", "The list is empty, expected tables")),
  },
  { expected: "a [limits] table" },
);

const FILE = tableOf(
  {
    rule: v.optional(tables(RULE, "[[rule]]", NO_RULE)),
    topic: v.optional(tables(TOPIC, "[[topic]]", "The list is empty, expected [[topic]] tables")),
    limits: v.optional(LIMITS),
    mode: v.optional(oneOf(["enforce", "permissive"], "mode")),
  },
  { expected: "a table" },
);

/** A file as written, its values known to be of the right kind. */
export type FileShape = v.InferOutput<typeof FILE>;

/** One of its rules. */
export type RuleShape = NonNullable<FileShape["rule"]>[number];

/** One of its `[[topic]]` tables. */
export type TopicShape = NonNullable<FileShape["topic"]>[number];

/** Its `[limits]`. */
export type LimitsShape = NonNullable<FileShape["limits"]>;

/**
 * Checks the shape of a whole policy file.
 * @param root of the parsed document
 * @returns what stands in it, or all that is wrong in no particular order
 */
export function checkPolicyShape(
  root: TomlTable,
): { readonly shape: FileShape } | { readonly problems: readonly Problem[] } {
  const result = v.safeParse(FILE, root);
  if (result.success) return { shape: result.output };
  return { problems: problemsOf(result.issues) };
}

function tables<const Item extends v.GenericSchema>(item: Item, header: string, none: string) {
  return v.pipe(v.array(item, wrongValue(`${header} tables`)), v.minLength(1, none));
}

/** One wildcard text, or a list of them. */
function wildcardTexts(what: string, isRight: (text: string) => boolean) {
  const text = v.pipe(
    v.string(wrongValue(what)),
    v.check(
      (value) => value !== "" && value.length <= WILDCARD_LENGTH_MAX && isRight(value),
      wrongValue(what),
    ),
  );
  return oneOrMany(text, `what is ${what} each`);
}

/** A name without its type, such as `sensord`, would be about no unit at all. */
function isUnit(name: string): boolean {
  const parts = name.split("/");
  return parts.length <= 2 && parts.every((part) => part.includes(".") || part.endsWith("*"));
}

/** The kernel says paths without `..`, `//` and `/` at their end; others would match nothing. */
function isAbsolutePath(path: string): boolean {
  return path.startsWith("/") && !path.endsWith("/") && normalize(path) === path;
}

function rangeOf(text: string): IdRange {
  const [first, last] = text.split("-");
  return { first: Number(first), last: Number(last) };
}
