/** Holes that other brokers had, each under the name it is known by. */

import { describe, expect, test } from "bun:test";
import { decide, decideSubscribe } from "../../../../src/broker/policy/decide.ts";
import { parsePolicy } from "../../../../src/broker/policy/policy-file.ts";
import { client, directory, POLICY_PATH, parse, refusalOf } from "./policy-fixture.ts";

describe("CVE-2020-35512: two user names of one uid", () => {
  const text = `
[[rule]]
id = "toor-publishes"
allow = ["publish"]
topics = ["admin.>"]
user = "toor"

[[rule]]
id = "root-does-not"
deny = ["publish"]
topics = ["admin.shutdown"]
user = "root"
`;

  test("a rule for one name is a rule for the other", () => {
    const policy = parse(text);
    const root = client(0);

    expect(policy.rules.map((rule) => rule.users)).toEqual([[0], [0]]);
    expect(decide(policy, root, "publish", "admin.log").rule).toBe("toor-publishes");
    expect(decide(policy, root, "publish", "admin.shutdown").rule).toBe("root-does-not");
  });

  test("a list of both names is a list of one number", () => {
    const policy = parse(text.replace('user = "toor"', 'user = ["toor", "root"]'));

    expect(policy.rules[0]?.users).toEqual([0, 0]);
    expect(decide(policy, client(1), "publish", "admin.log").allowed).toBe(false);
  });
});

describe("ubusd: a group name that does not exist grants to gid 0", () => {
  const text = '[[rule]]\nallow = ["publish"]\ntopics = [">"]\ngroup = "wheeel"\n';

  test("the policy is refused whole", () => {
    const rightRule = '[[rule]]\nallow = ["publish"]\ntopics = ["a"]\nuser = "alice"\n';

    const error = refusalOf(() => parse(rightRule + text));

    expect(error.message).toBe('policy.toml:8:9: Unknown group "wheeel"');
  });

  test("no rule about gid 0 comes of it, whatever the look-up returns for nothing", () => {
    for (const nothing of [undefined, { gid: undefined }, { gid: null }, { gid: Number.NaN }]) {
      const odd = { ...directory, findGroup: () => nothing as { gid: number } | undefined };

      expect(refusalOf(() => parsePolicy(text, POLICY_PATH, odd)).line).toBe(4);
    }
  });

  test("the same holds for users", () => {
    const error = refusalOf(() => parse(text.replace("group", "user")));

    expect(error.message).toBe('policy.toml:4:8: Unknown user "wheeel"');
  });
});

describe("CVE-2018-12550: an empty list means everything", () => {
  const RIGHT = '[[rule]]\nallow = ["publish"]\ntopics = ["a"]\nuser = [0]\n';

  for (const [key, value] of [
    ["allow", '["publish"]'],
    ["topics", '["a"]'],
    ["user", "[0]"],
  ]) {
    test(`an empty list of ${key} is refused`, () => {
      const error = refusalOf(() => parse(RIGHT.replace(`${key} = ${value}`, `${key} = []`)));

      expect(error.message).toContain("The list is empty");
    });
  }

  test("an empty file is refused", () => {
    expect(refusalOf(() => parse("")).line).toBe(1);
  });
});

describe("ubus 2025: a wildcard subscriber skips the access list", () => {
  const policy = parse(`
[[rule]]
id = "public"
allow = ["subscribe"]
topics = ["public.>"]
any = true

[[rule]]
id = "no-secrets"
deny = ["subscribe"]
topics = ["public.secret.>"]
any = true
`);
  const bob = client(1_001);

  test("a pattern that may be subscribed grants none of the topics under it", () => {
    for (const pattern of [">", "*.*", "public.>", "*.secret.>"]) {
      expect(decideSubscribe(policy, bob, pattern).allowed).toBe(true);
    }
    expect(decide(policy, bob, "subscribe", "public.news").allowed).toBe(true);
    expect(decide(policy, bob, "subscribe", "private.news").allowed).toBe(false);
    expect(decide(policy, bob, "subscribe", "public.secret.key").rule).toBe("no-secrets");
  });

  test("a pattern over nothing but denied topics is refused", () => {
    expect(decideSubscribe(policy, bob, "public.secret.*").rule).toBe("no-secrets");
    expect(decideSubscribe(policy, bob, "private.>").allowed).toBe(false);
  });
});

describe("dbus-broker #326: the order of rules decides", () => {
  test("a deny before and a deny after an allow give the same verdict", () => {
    const allow = '{ allow = ["publish"], topics = [">"], any = true }';
    const deny = '{ deny = ["publish"], topics = ["a"], any = true }';
    const before = parse(`rule = [\n${deny},\n${allow}]`);
    const after = parse(`rule = [\n${allow},\n${deny}]`);

    expect(decide(before, client(1), "publish", "a").allowed).toBe(false);
    expect(decide(after, client(1), "publish", "a").allowed).toBe(false);
  });
});
