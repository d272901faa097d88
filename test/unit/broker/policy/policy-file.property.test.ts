/**
 * Random texts into the policy parser: out comes a policy or a ConfigError with a place in the
 * text, and nothing else. fast-check prints the seed of a failure.
 */

import { expect, test } from "bun:test";
import fc from "fast-check";
import { ACTIONS, type Action, type Policy } from "../../../../src/broker/policy/rules.ts";
import { ConfigError } from "../../../../src/errors.ts";
import { parse } from "./policy-fixture.ts";

/** Pieces of policy files, whole and broken, that random texts are put together from. */
const PIECES = [
  ..."[]{}=.,#'\"\\\n\r\t ",
  ...["[[rule]]\n", "[rule]\n", "[[rule.x]]\n", "[rule.user]\n", "rule = [", '"""', "'''"],
  ...["allow = ", "deny = ", "topics = ", "user = ", "group = ", "any = ", "id = ", "user.x = "],
  ...['["publish"]', '["subscribe", "publish"]', '["a.>"]', '["a..b"]', '">"', "[]", "{}"],
  ...['"root"', '"nobody-here"', "0", "-1", "4294967295", "1.5", "nan", "0x", "1979-05-27"],
  ...["[[topic]]\n", "[limits]\n", "[[limits.user]]\n", 'mode = "permissive"\n', "retain = true\n"],
  ...[
    "uid = ",
    "unit = ",
    "exe = ",
    "label = ",
    '"1-2"',
    '"9-1"',
    '"a.service"',
    '"/bin/*"',
    "fds = ",
  ],
  ...["true", "false", "__proto__", "constructor", "length", "toString", "\u0000", "\ud800", "é"],
];

const SOUP = fc
  .array(fc.constantFrom(...PIECES), { maxLength: 40 })
  .map((pieces) => pieces.join(""));

/** Complete TOML values, so that texts get past the parser to the checks behind it. */
const VALUE = fc.constantFrom(
  ...['["publish"]', '["subscribe", "publish"]', '["a.>"]', '["a..b"]', "[]", "{}", "{ a = 1 }"],
  ...['"root"', '"nobody-here"', '["root", 5]', "0", "-1", "4294967295", "1.5", "nan"],
  ...["1979-05-27", "true", "false", '""', "[[]]"],
);

/** Each key right, left out or wrong, so that rules come near to being right. */
const RULE_LINES = fc
  .tuple(
    lineOf("allow", '["publish"]'),
    lineOf("deny", '["subscribe"]', 1),
    lineOf("topics", '["a.>"]'),
    lineOf("user", '["root", 5]'),
    lineOf("group", '"media"', 1),
    lineOf("any", "true", 1),
    lineOf("uid", '[5, "1000-1999"]', 1),
    lineOf("unit", '"a-*.service"', 1),
    lineOf("exe", '["/bin/a"]', 1),
    lineOf("label", '"l"', 1),
    lineOf("id", '"r"', 1),
    lineOf("__proto__", "1", 0),
  )
  .map((lines) => `[[rule]]\n${lines.join("")}`);

const SETTING_LINES = fc
  .tuple(
    lineOf("topics", '["a.>"]'),
    lineOf("fds", '["file", "pipe"]'),
    lineOf("message-bytes-max", "5", 1),
    lineOf("retain", "true", 1),
    lineOf("overflow", '"block"', 1),
    lineOf("fds-denied", '"drop"', 1),
  )
  .map((lines) => `[[topic]]\n${lines.join("")}`);

const LIMIT_LINES = fc
  .tuple(
    lineOf("connections", "1"),
    lineOf("queued-bytes", "1", 1),
    lineOf("user.x", "1", 0),
    lineOf("pending-calls", "1", 1),
  )
  .map((lines) => `[limits]\n${lines.join("")}`);

const USER_LIMIT_LINES = fc
  .tuple(lineOf("user", "0"), lineOf("uid", '"1-9"', 1), lineOf("fds", "1"))
  .map((lines) => `[[limits.user]]\n${lines.join("")}`);

const TABLES = fc.oneof(
  { weight: 4, arbitrary: RULE_LINES },
  { weight: 1, arbitrary: SETTING_LINES },
  { weight: 1, arbitrary: LIMIT_LINES },
  { weight: 1, arbitrary: USER_LIMIT_LINES },
);

const LINES = fc
  .tuple(lineOf("mode", '"permissive"', 1), fc.array(TABLES, { minLength: 1, maxLength: 4 }))
  .map(([mode, tables]) => mode + tables.join(""));

const ALMOST_RIGHT = fc
  .tuple(fc.nat({ max: 200 }), fc.nat({ max: 3 }), fc.constantFrom("", ...PIECES))
  .map(([at, removed, piece]) => {
    const text = '[[rule]]\nallow = ["publish"]\ntopics = ["a.>", "b"]\nuser = ["root", 5]\n';
    return text.slice(0, at) + piece + text.slice(at + removed);
  });

for (const [name, texts] of [
  ["loose pieces", SOUP],
  ["rules with some faults", LINES],
  ["a right file with one change", ALMOST_RIGHT],
  ["any characters", fc.string({ unit: "binary", maxLength: 60 })],
] as const) {
  test(`parsePolicy() throws nothing but ConfigError on ${name}`, () => {
    fc.assert(fc.property(texts, checkOutcome), { numRuns: 3_000 });
  });
}

test("parsePolicy() reads back every right policy", () => {
  const ids = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,8}$/), { minLength: 1, maxLength: 6 });
  const rules = ids.chain((names) => fc.tuple(...names.map(rightRule)));
  fc.assert(
    fc.property(rules, (written) => {
      const policy = parse(written.map(textOf).join("\n"));

      expect(policy.rules.map((rule) => rule.id)).toEqual(written.map((rule) => rule.id));
      expect(policy.rules.map((rule) => [...rule.allow])).toEqual(written.map((r) => r.allow));
      expect(policy.rules.map((rule) => rule.topics)).toEqual(written.map((r) => r.topics));
      expect(policy.rules.map((rule) => rule.users)).toEqual(written.map((r) => r.users));
    }),
  );
});

/** @param rightWeight how often the right value is taken, beside 6 times none and once any */
function lineOf(key: string, right: string, rightWeight = 20): fc.Arbitrary<string> {
  return fc
    .oneof(
      { weight: rightWeight, arbitrary: fc.constant(right) },
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: VALUE },
    )
    .map((value) => (value === undefined ? "" : `${key} = ${value}\n`));
}

interface WrittenRule {
  readonly id: string;
  readonly allow: Action[];
  readonly topics: string[];
  readonly users: number[];
}

function rightRule(id: string): fc.Arbitrary<WrittenRule> {
  return fc.record({
    id: fc.constant(id),
    allow: fc.subarray([...ACTIONS], { minLength: 1 }),
    topics: fc.subarray(["a", "a.*", "b.>", "$bus.clients"], { minLength: 1 }),
    users: fc.array(fc.integer({ min: 0, max: 4_294_967_294 }), { minLength: 1, maxLength: 3 }),
  });
}

function textOf(rule: WrittenRule): string {
  return [
    "[[rule]]",
    `id = ${JSON.stringify(rule.id)}`,
    `allow = ${JSON.stringify(rule.allow)}`,
    `topics = ${JSON.stringify(rule.topics)}`,
    `user = ${JSON.stringify(rule.users)}\n`,
  ].join("\n");
}

/** A policy comes out usable, an error with a place that the text has. */
function checkOutcome(text: string): void {
  let policy: Policy;
  try {
    policy = parse(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    expect(error.code).toBe("CONFIG_POLICY");
    expect(error.line).toBeWithin(1, text.split(/\r\n|[\n\r]/).length + 1);
    expect(error.column).toBeWithin(1, text.length + 2);
    return;
  }
  expect(policy.rules.length).toBeGreaterThan(0);
  for (const rule of policy.rules) {
    expect(rule.allow.length + rule.deny.length).toBeGreaterThan(0);
    expect(rule.topics.length).toBeGreaterThan(0);
    const { users, uids, groups, units, exes, labels } = rule;
    const isNobodyNamed = [users, uids, groups, units, exes, labels].every(
      (who) => who === undefined,
    );
    expect(rule.any).toBe(isNobodyNamed);
  }
}
