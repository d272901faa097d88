/** Properties of decide() on random policies, against a scan that just follows the definition. */

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { PeerIdentity } from "../../../../src/broker/identity/identity.ts";
import { type Decision, decide, decideSubscribe } from "../../../../src/broker/policy/decide.ts";
import { ACTIONS, type Action, type Rule } from "../../../../src/broker/policy/rules.ts";
import { patternCovers, patternsIntersect, topicMatches } from "../../../../src/protocol/topics.ts";
import { policyOf } from "./policy-fixture.ts";

/** Small numbers and few tokens, so that rules meet each other often. */
const ID = fc.integer({ min: 0, max: 3 });
const TOKEN = fc.constantFrom("a", "b");
const TOPIC = fc.array(TOKEN, { minLength: 1, maxLength: 3 }).map((tokens) => tokens.join("."));
const PATTERN = fc
  .tuple(fc.array(fc.constantFrom("a", "b", "*"), { maxLength: 2 }), fc.constantFrom("a", "*", ">"))
  .map(([tokens, last]) => [...tokens, last].join("."));
const ACTION = fc.constantFrom(...ACTIONS);

/** Every topic of up to four tokens of the alphabet: one more than a pattern can have. */
const ALL_TOPICS = topicsUpTo(4);

const EFFECTS = fc.tuple(
  ...ACTIONS.map(() => fc.constantFrom("allow", "deny", "none", "none", "none")),
);

/** A key that a rule may have: left out, or a list of one or two. */
function maybe<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[] | undefined> {
  const list = fc.array(value, { minLength: 1, maxLength: 2 });
  return fc.option(list, { nil: undefined, freq: 1 });
}

const RANGE = fc.tuple(ID, ID).map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const UNIT = fc.constantFrom("a.service", "b.service", "user@1.service/a.service");
const UNIT_PATTERN = fc.oneof(UNIT, fc.constantFrom("*", "a*", "?.service", "user@*.service/*"));
const EXE = fc.constantFrom("/bin/a", "/bin/b", "(deleted) /bin/a");
const EXE_PATTERN = fc.constantFrom("/bin/a", "/bin/*", "/*/?", "/*");
const LABEL = fc.constantFrom("x:a", "x:b");
const LABEL_PATTERN = fc.constantFrom("x:a", "x:*", "*");

const RULE: fc.Arbitrary<Rule> = fc
  .record({
    line: fc.nat(),
    mode: fc.constantFrom("enforce", "enforce", "permissive"),
    effects: EFFECTS,
    topics: fc.array(PATTERN, { minLength: 1, maxLength: 2 }),
    users: maybe(ID),
    uids: maybe(RANGE),
    groups: maybe(ID),
    units: maybe(UNIT_PATTERN),
    exes: maybe(EXE_PATTERN),
    labels: maybe(LABEL_PATTERN),
    keys: fc.nat({ max: 63 }),
  })
  .map(({ effects, line, mode, topics, keys, ...all }) => {
    const kept = Object.entries(all).filter(
      ([, value], at) => value !== undefined && (keys & (1 << at)) !== 0,
    );
    return {
      id: `rule-${line}`,
      path: "",
      line,
      mode,
      allow: ACTIONS.filter((_, at) => effects[at] === "allow"),
      deny: ACTIONS.filter((_, at) => effects[at] === "deny"),
      topics,
      any: kept.length === 0,
      ...Object.fromEntries(kept),
    };
  });

const RULES = rulesUpTo(8);

/** More than one bucket tries one by one, so that the trees are used. */
const MANY_RULES = rulesUpTo(60);

function rulesUpTo(maxLength: number): fc.Arbitrary<Rule[]> {
  return fc.uniqueArray(RULE, { maxLength, selector: (rule) => rule.id, size: "max" });
}

const IDENTITY: fc.Arbitrary<PeerIdentity> = fc
  .record({
    uid: ID,
    gid: ID,
    pid: fc.nat(),
    groups: fc.array(ID, { maxLength: 2 }),
    cgroup: fc.option(fc.constant("/"), { nil: undefined }),
    unit: fc.option(UNIT, { nil: undefined }),
    exe: fc.option(EXE, { nil: undefined }),
    label: fc.option(LABEL, { nil: undefined }),
  })
  .map((all) => (all.unit === undefined ? all : { ...all, cgroup: "/" }));

test("decide() agrees with a scan of all rules, and names the first deciding rule", () => {
  const rules = fc.oneof(RULES, MANY_RULES);
  fc.assert(
    fc.property(rules, IDENTITY, ACTION, TOPIC, (some, identity, action, topic) => {
      const matches = (pattern: string) => topicMatches(pattern, topic);

      const decision = decide(policyOf(some), identity, action, topic);

      expect(decision).toEqual(scan(some, identity, action, { deny: matches, allow: matches }));
    }),
    { numRuns: 1_000 },
  );
});

test("decideSubscribe() agrees with a scan of all rules", () => {
  const rules = fc.oneof(RULES, MANY_RULES);
  const patterns = fc.oneof(PATTERN, PATTERN, fc.constantFrom("$bus.>", "$a", ">"));
  fc.assert(
    fc.property(rules, IDENTITY, patterns, (some, identity, pattern) => {
      const decision = decideSubscribe(policyOf(some), identity, pattern);

      expect(decision).toEqual(
        scan(some, identity, "subscribe", {
          deny: (outer) => patternCovers(outer, pattern),
          allow: (other) => patternsIntersect(other, pattern),
        }),
      );
    }),
    { numRuns: 1_000 },
  );
});

test("decide() and decideSubscribe() do not change their verdict when rules change places", () => {
  const shuffled = RULES.chain((rules) =>
    fc.tuple(fc.constant(rules), fc.shuffledSubarray(rules, { minLength: rules.length })),
  );
  fc.assert(
    fc.property(shuffled, IDENTITY, ACTION, TOPIC, PATTERN, (orders, identity, action, ...on) => {
      const [topic, pattern] = on;
      const [first, second] = orders.map(policyOf);
      if (first === undefined || second === undefined) return expect.unreachable();

      expect(decide(second, identity, action, topic).allowed).toBe(
        decide(first, identity, action, topic).allowed,
      );
      expect(decideSubscribe(second, identity, pattern).allowed).toBe(
        decideSubscribe(first, identity, pattern).allowed,
      );
    }),
    { numRuns: 1_000 },
  );
});

test("decide() denies whatever a deny rule about the client speaks of, at every place", () => {
  fc.assert(
    fc.property(RULES, IDENTITY, ACTION, TOPIC, fc.nat(), (rules, identity, action, topic, at) => {
      const deny = denyRule(identity, action, topic);
      const place = at % (rules.length + 1);

      const decision = decide(policyOf(rules.toSpliced(place, 0, deny)), identity, action, topic);

      expect(decision.allowed).toBe(false);
    }),
    { numRuns: 1_000 },
  );
});

test("decideSubscribe() refuses only patterns of which no topic may be read", () => {
  fc.assert(
    fc.property(RULES, IDENTITY, PATTERN, (rules, identity, pattern) => {
      const policy = policyOf(rules);
      const readable = ALL_TOPICS.filter(
        (topic) =>
          topicMatches(pattern, topic) && decide(policy, identity, "subscribe", topic).allowed,
      );

      const decision = decideSubscribe(policy, identity, pattern);

      if (!decision.allowed) expect(readable).toEqual([]);
      if (readable.length > 0) expect(decision.allowed).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

test("decideSubscribe() decides about an exact name as decide() does", () => {
  fc.assert(
    fc.property(RULES, IDENTITY, TOPIC, (rules, identity, topic) => {
      const policy = policyOf(rules);

      expect(decideSubscribe(policy, identity, topic)).toEqual(
        decide(policy, identity, "subscribe", topic),
      );
    }),
    { numRuns: 1_000 },
  );
});

test("decideSubscribe() names a rule that covers what it denies and touches what it allows", () => {
  fc.assert(
    fc.property(RULES, IDENTITY, PATTERN, (rules, identity, pattern) => {
      const decision = decideSubscribe(policyOf(rules), identity, pattern);
      const rule = rules.find((candidate) => candidate.id === decision.rule);

      expect(decision.allowed && rule === undefined).toBe(false);
      if (rule === undefined) return;
      expect(isAbout(rule, identity, !decision.allowed)).toBe(true);
      expect((decision.allowed ? rule.allow : rule.deny).includes("subscribe")).toBe(true);
      if (!decision.allowed) {
        expect(rule.topics.some((outer) => patternCovers(outer, pattern))).toBe(true);
      }
    }),
    { numRuns: 1_000 },
  );
});

/** The definition, word for word: what the index must find. */
function scan(
  rules: readonly Rule[],
  identity: PeerIdentity,
  action: Action,
  fits: { deny: (pattern: string) => boolean; allow: (pattern: string) => boolean },
): Decision {
  const denies = (rule: Rule) =>
    rule.deny.includes(action) && isAbout(rule, identity, true) && rule.topics.some(fits.deny);
  const denying = rules.find((rule) => rule.mode === "enforce" && denies(rule));
  if (denying !== undefined) return { allowed: false, rule: denying.id };
  const allowing = rules.find(
    (rule) =>
      rule.allow.includes(action) && isAbout(rule, identity, false) && rule.topics.some(fits.allow),
  );
  if (allowing === undefined) return { allowed: false, rule: undefined };
  const wouldDeny = rules.find((rule) => rule.mode === "permissive" && denies(rule));
  const allowed = { allowed: true, rule: allowing.id };
  return wouldDeny === undefined ? allowed : { ...allowed, wouldDeny: { rule: wouldDeny.id } };
}

/** @param ifUnknown what a condition is taken for that the kernel did not say enough for */
function isAbout(rule: Rule, identity: PeerIdentity, ifUnknown: boolean): boolean {
  const { uid, gid, groups, unit, cgroup, exe, label } = identity;
  const inGroup = (group: number) => group === gid || groups.includes(group);
  const inUnit = unit === undefined ? cgroup === undefined && ifUnknown : undefined;
  const isExe = exe === undefined ? ifUnknown : undefined;
  return (
    (rule.users?.includes(uid) ?? true) &&
    (rule.uids?.some(({ first, last }) => first <= uid && uid <= last) ?? true) &&
    (rule.groups?.some(inGroup) ?? true) &&
    (rule.units === undefined || (inUnit ?? rule.units.some((text) => globs(text, unit)))) &&
    (rule.exes === undefined || (isExe ?? rule.exes.some((text) => globs(text, exe)))) &&
    (rule.labels?.some((text) => label !== undefined && globs(text, label)) ?? true)
  );
}

/** Every label here is without a slash, so that one kind of wildcard does for all. */
function globs(pattern: string, text: string | undefined): boolean {
  const source = pattern.replace(/[.()]/g, "\\$&").replaceAll("*", "[^/]*").replaceAll("?", "[^/]");
  return new RegExp(`^${source}$`).test(text ?? "");
}

function denyRule(identity: PeerIdentity, action: Action, topic: string): Rule {
  return {
    id: "the-deny",
    path: "",
    line: 1,
    mode: "enforce",
    allow: [],
    deny: [action],
    topics: [topic],
    users: [identity.uid],
    any: false,
  };
}

function topicsUpTo(tokensMax: number): string[] {
  const topics: string[] = [];
  let longest = ["a", "b"];
  for (let tokens = 1; tokens <= tokensMax; tokens += 1) {
    topics.push(...longest);
    longest = longest.flatMap((topic) => [`${topic}.a`, `${topic}.b`]);
  }
  return topics;
}
