import { describe, expect, test } from "bun:test";
import { decide, decideSubscribe, ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { ACTIONS } from "../../../../src/broker/policy/rules.ts";
import { client, parse, policyOf } from "./policy-fixture.ts";

const SENSORD = client(990);
const ALICE = client(1_000, { groups: [44, 2_000] });
const BOB = client(1_001);

const POLICY = parse(`
[[rule]]
id = "sensord-publishes"
allow = ["publish"]
topics = ["sensors.>"]
user = "sensord"

[[rule]]
id = "all-read"
allow = ["subscribe"]
topics = ["sensors.*.temperature", "news"]
any = true

[[rule]]
id = "guests-do-not"
deny = ["subscribe"]
topics = ["sensors.bedroom.>"]
group = "guests"

[[rule]]
id = "media-by-alice"
allow = ["send-fds", "receive-fds"]
topics = ["files.opened"]
user = ["alice", "sensord"]
group = ["media", 7]

[[rule]]
id = "media-reads"
allow = ["subscribe"]
topics = ["sensors.*.temperature"]
group = "media"
`);

describe("decide()", () => {
  test("denies with no rule where none speaks", () => {
    expect(decide(POLICY, BOB, "publish", "anything")).toEqual({ allowed: false, rule: undefined });
  });

  test("allows by the first rule that allows, and names it", () => {
    const decision = decide(POLICY, ALICE, "subscribe", "sensors.kitchen.temperature");

    expect(decision).toEqual({ allowed: true, rule: "all-read" });
  });

  test("denies by a rule that denies, wherever it stands", () => {
    const decision = decide(POLICY, ALICE, "subscribe", "sensors.bedroom.temperature");

    expect(decision).toEqual({ allowed: false, rule: "guests-do-not" });
  });

  test("names the first of several rules that deny", () => {
    const policy = parse(`
rule = [
  { id = "yes", allow = ["publish"], topics = [">"], any = true },
  { id = "no-1", deny = ["publish"], topics = ["a"], any = true },
  { id = "no-2", deny = ["publish"], topics = [">"], user = 1001 },
]`);

    expect(decide(policy, BOB, "publish", "a").rule).toBe("no-1");
    expect(decide(policy, BOB, "publish", "b").rule).toBe("no-2");
    expect(decide(policy, ALICE, "publish", "b").rule).toBe("yes");
  });

  test("keeps actions apart", () => {
    const topic = "sensors.kitchen.temperature";

    expect(decide(POLICY, SENSORD, "publish", topic).allowed).toBe(true);
    expect(decide(POLICY, SENSORD, "send-fds", topic).allowed).toBe(false);
    expect(decide(POLICY, BOB, "subscribe", topic).allowed).toBe(true);
    expect(decide(POLICY, BOB, "publish", topic).allowed).toBe(false);
  });

  test("applies a rule to all its topics and no others", () => {
    expect(decide(POLICY, BOB, "subscribe", "news").allowed).toBe(true);
    expect(decide(POLICY, BOB, "subscribe", "news.local").allowed).toBe(false);
    expect(decide(POLICY, SENSORD, "publish", "sensors").allowed).toBe(false);
  });

  test("wants user and group to hold where a rule names both", () => {
    const inMedia = client(1_000, { groups: [44] });
    const notInMedia = client(1_000);
    const otherInMedia = client(1_001, { groups: [44] });

    expect(decide(POLICY, inMedia, "send-fds", "files.opened").allowed).toBe(true);
    expect(decide(POLICY, notInMedia, "send-fds", "files.opened").allowed).toBe(false);
    expect(decide(POLICY, otherInMedia, "send-fds", "files.opened").allowed).toBe(false);
  });

  test("takes any one of the users and any one of the groups", () => {
    const second = client(990, { groups: [1, 2, 7] });

    expect(decide(POLICY, second, "receive-fds", "files.opened").allowed).toBe(true);
  });

  test("finds a group in the primary gid as well as in the supplementary groups", () => {
    const policy = parse('[[rule]]\nallow = ["publish"]\ntopics = ["a"]\ngroup = "media"\n');

    expect(decide(policy, client(5, { gid: 44 }), "publish", "a").allowed).toBe(true);
    expect(decide(policy, client(5, { groups: [9, 44] }), "publish", "a").allowed).toBe(true);
    expect(decide(policy, client(44, { gid: 5 }), "publish", "a").allowed).toBe(false);
  });

  test("gives root no right that no rule gives", () => {
    expect(decide(POLICY, client(0), "publish", "sensors.a").allowed).toBe(false);
  });

  test("does not stretch > to the topics of the bus", () => {
    const policy = parse('[[rule]]\nallow = ["subscribe"]\ntopics = [">"]\nany = true\n');

    expect(decide(policy, BOB, "subscribe", "$bus.clients").allowed).toBe(false);
  });

  test("never takes a rule without user, group and any for one about everybody", () => {
    const [rule] = POLICY.rules;
    if (rule === undefined) return expect.unreachable();
    const { users, ...aboutNobody } = rule;
    const policy = policyOf([aboutNobody]);

    expect(decide(policy, SENSORD, "publish", "sensors.a").allowed).toBe(false);
  });

  test("denies everything by a policy without rules", () => {
    expect(decide(policyOf([]), BOB, "publish", "a").allowed).toBe(false);
  });
});

describe("decideSubscribe()", () => {
  test("decides about an exact name as decide() does", () => {
    for (const topic of ["news", "sensors.bedroom.temperature", "sensors.a.temperature", "x"]) {
      expect(decideSubscribe(POLICY, ALICE, topic)).toEqual(
        decide(POLICY, ALICE, "subscribe", topic),
      );
    }
  });

  test("allows a pattern of which a rule allows some", () => {
    for (const pattern of [">", "sensors.>", "sensors.*.*", "*.kitchen.temperature", "*"]) {
      expect(decideSubscribe(POLICY, BOB, pattern)).toEqual({ allowed: true, rule: "all-read" });
    }
  });

  test("denies with no rule a pattern of which nothing is allowed", () => {
    for (const pattern of ["files.>", "sensors.*", "sensors.*.humidity", "$bus.>"]) {
      expect(decideSubscribe(POLICY, BOB, pattern)).toEqual({ allowed: false, rule: undefined });
    }
  });

  test("denies a pattern that one rule denies whole", () => {
    for (const pattern of ["sensors.bedroom.*", "sensors.bedroom.>"]) {
      const decision = decideSubscribe(POLICY, ALICE, pattern);

      expect(decision).toEqual({ allowed: false, rule: "guests-do-not" });
    }
  });

  test("allows a pattern of which a rule denies only a part", () => {
    expect(decideSubscribe(POLICY, ALICE, "sensors.>").allowed).toBe(true);
    expect(decideSubscribe(POLICY, ALICE, "sensors.*.temperature").allowed).toBe(true);
  });

  test("asks for the right to subscribe and for no other", () => {
    const policy = parse('[[rule]]\nallow = ["publish"]\ntopics = [">"]\nany = true\n');

    expect(decideSubscribe(policy, BOB, ">").allowed).toBe(false);
    expect(decideSubscribe(policy, BOB, "a").allowed).toBe(false);
  });
});

describe("ownUidPolicy()", () => {
  const policy = ownUidPolicy(1_000);

  test("allows its uid everything, the topics of the bus included", () => {
    for (const action of ACTIONS) {
      for (const topic of ["a", "a.b.c", "$bus.clients"]) {
        expect(decide(policy, ALICE, action, topic)).toEqual({ allowed: true, rule: "own-uid" });
      }
    }
    expect(decideSubscribe(policy, ALICE, ">").rule).toBe("own-uid");
  });

  test("allows nobody else anything, root included", () => {
    for (const action of ACTIONS) {
      expect(decide(policy, BOB, action, "a").allowed).toBe(false);
      expect(decide(policy, client(0, { groups: [1_000] }), action, "a").allowed).toBe(false);
    }
    expect(decideSubscribe(policy, BOB, ">").allowed).toBe(false);
  });
});
