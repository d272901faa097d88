/** Properties of decide() on random policies, against a model that just follows the definition. */

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { PeerIdentity } from "../../../../src/broker/identity.ts";
import { decide, decideSubscribe } from "../../../../src/broker/policy/decide.ts";
import {
  ACTIONS,
  type Action,
  type Policy,
  type Rule,
} from "../../../../src/broker/policy/rules.ts";
import { patternCovers, topicMatches } from "../../../../src/protocol/topics.ts";

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

const EFFECT = fc.constantFrom("allow", "deny", "none");
const EFFECTS = fc.tuple(EFFECT, EFFECT, EFFECT, EFFECT);
const IDS = fc.option(fc.array(ID, { minLength: 1, maxLength: 2 }), { nil: undefined });

const RULE: fc.Arbitrary<Rule> = fc
  .record({
    effects: EFFECTS,
    topics: fc.array(PATTERN, { minLength: 1, maxLength: 2 }),
    users: IDS,
    groups: IDS,
    line: fc.nat(),
  })
  .map(({ effects, topics, users, groups, line }) => ({
    id: `rule-${line}`,
    line,
    allow: new Set(ACTIONS.filter((_, at) => effects[at] === "allow")),
    deny: new Set(ACTIONS.filter((_, at) => effects[at] === "deny")),
    topics,
    users,
    groups,
    any: users === undefined && groups === undefined,
    who: "",
  }));

const RULES = fc.uniqueArray(RULE, { maxLength: 8, selector: (rule) => rule.id });

const IDENTITY: fc.Arbitrary<PeerIdentity> = fc.record({
  uid: ID,
  gid: ID,
  pid: fc.nat(),
  groups: fc.array(ID, { maxLength: 2 }),
});

test("decide() agrees with its definition, and names the first deciding rule", () => {
  fc.assert(
    fc.property(RULES, IDENTITY, ACTION, TOPIC, (rules, identity, action, topic) => {
      const speaking = rules.filter((rule) => isAbout(rule, identity) && covers(rule, topic));
      const denying = speaking.find((rule) => rule.deny.has(action));
      const allowing = speaking.find((rule) => rule.allow.has(action));

      const decision = decide(policyOf(rules), identity, action, topic);

      expect(decision.allowed).toBe(denying === undefined && allowing !== undefined);
      expect(decision.rule).toBe((denying ?? allowing)?.id);
    }),
    { numRuns: 2_000 },
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
      expect(isAbout(rule, identity)).toBe(true);
      expect((decision.allowed ? rule.allow : rule.deny).has("subscribe")).toBe(true);
      if (!decision.allowed) {
        expect(rule.topics.some((outer) => patternCovers(outer, pattern))).toBe(true);
      }
    }),
    { numRuns: 1_000 },
  );
});

function policyOf(rules: readonly Rule[]): Policy {
  return { rules, path: "" };
}

function covers(rule: Rule, topic: string): boolean {
  return rule.topics.some((pattern) => topicMatches(pattern, topic));
}

function isAbout(rule: Rule, identity: PeerIdentity): boolean {
  const memberships = [identity.gid, ...identity.groups];
  const userHolds = rule.users === undefined || rule.users.some((uid) => uid === identity.uid);
  const groupHolds =
    rule.groups === undefined || rule.groups.some((gid) => memberships.includes(gid));
  return userHolds && groupHolds;
}

function denyRule(identity: PeerIdentity, action: Action, topic: string): Rule {
  return {
    id: "the-deny",
    line: 1,
    allow: new Set(),
    deny: new Set([action]),
    topics: [topic],
    users: [identity.uid],
    groups: undefined,
    any: false,
    who: "",
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
