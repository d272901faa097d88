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
    ["uid", "[0]"],
    ["group", "[0]"],
    ["unit", '["a.service"]'],
    ["exe", '["/bin/a"]'],
    ["label", '["a"]'],
  ]) {
    test(`an empty list of ${key} is refused`, () => {
      const right = RIGHT.includes(`${key} = `) ? RIGHT : `${RIGHT}${key} = ${value}\n`;
      const error = refusalOf(() => parse(right.replace(`${key} = ${value}`, `${key} = []`)));

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

describe("user namespaces: an id without a number of its own reads as 65534", () => {
  const policy = parse(`
[[rule]]
id = "everybody"
allow = ["publish"]
topics = [">"]
any = true

[[rule]]
id = "high-uids"
allow = ["call"]
topics = [">"]
uid = ["1000-65533", "65535-4294967294"]
`);

  test("no rule is about such a client, not even one about everybody", () => {
    const stranger = client(65_534, { unmapped: true });

    expect(decide(policy, stranger, "publish", "a")).toEqual({ allowed: false, rule: undefined });
    expect(decideSubscribe(policy, stranger, ">").allowed).toBe(false);
  });

  test("where the listener allows such clients, only a rule about everybody is about them", () => {
    const nobody = client(65_534);

    expect(decide(policy, nobody, "publish", "a").rule).toBe("everybody");
    expect(decide(policy, nobody, "call", "a").allowed).toBe(false);
  });

  test("a rule cannot name it, by number, by name or within a range", () => {
    for (const who of [
      "user = 65534",
      'user = "nobody"',
      'uid = "0-4294967294"',
      "group = 65534",
    ]) {
      const text = `[[rule]]\nallow = ["publish"]\ntopics = ["a"]\n${who}\n`;

      expect(refusalOf(() => parse(text)).message).toContain("of other namespaces");
    }
  });

  test("the kernel may be told another number, which counts then", () => {
    const other = { ...directory, overflow: { uid: 1_000, gid: 1_000 } };
    const text = '[[rule]]\nallow = ["publish"]\ntopics = ["a"]\nuser = "alice"\n';

    expect(refusalOf(() => parsePolicy(text, POLICY_PATH, other)).line).toBe(4);
  });
});

describe("PID reuse, polkit CVE-2013-4288: what a process was is unknown once it has ended", () => {
  const policy = parse(`
[[rule]]
id = "all"
allow = ["call"]
topics = [">"]
any = true

[[rule]]
id = "no-sandbox"
deny = ["call"]
topics = ["admin"]
unit = ["sandbox.service", "sandbox-*.scope"]

[[rule]]
id = "no-browser"
deny = ["call"]
topics = ["keys"]
exe = "/usr/bin/browser"

[[rule]]
id = "alice-not-from-sandbox"
deny = ["call"]
topics = ["mail"]
user = "alice"
unit = "sandbox.service"
exe = "/usr/bin/*"

[[rule]]
id = "by-unit"
allow = ["publish"]
topics = ["admin"]
unit = "admin.service"
`);

  test("a deny holds for a client whose unit or executable is unknown", () => {
    expect(decide(policy, client(1_000), "call", "admin").rule).toBe("no-sandbox");
    expect(decide(policy, client(1_000), "call", "keys").rule).toBe("no-browser");
    expect(decide(policy, client(1_000), "call", "mail").rule).toBe("alice-not-from-sandbox");
    expect(decide(policy, client(1_001), "call", "mail").rule).toBe("all");
  });

  test("an allow does not", () => {
    expect(decide(policy, client(1_000), "publish", "admin").allowed).toBe(false);
  });

  test("a client that is known to be in no unit is not denied", () => {
    const known = client(1_000, { cgroup: "/", exe: "/usr/bin/other" });

    expect(decide(policy, known, "call", "admin").rule).toBe("all");
    expect(decide(policy, known, "call", "keys").rule).toBe("all");
    expect(decide(policy, { ...known, exe: "/usr/bin/a" }, "call", "mail").rule).toBe("all");
  });
});

describe("systemd: a user gives a unit of his own the name of one of the system", () => {
  test("no rule about the system's unit is about it, with wildcards neither", () => {
    const liar = client(1_000, { unit: "user@1000.service/sensord.service" });

    for (const unit of ["sensord.service", "*", "*sensord.service", "user@1000?service?*"]) {
      const rule = `allow = ["publish"]\ntopics = ["a"]\nunit = ${JSON.stringify(unit)}\n`;
      const policy = parse(`[[rule]]\n${rule}`);

      expect(decide(policy, liar, "publish", "a").allowed).toBe(false);
    }
  });
});
