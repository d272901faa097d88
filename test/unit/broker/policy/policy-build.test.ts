import { describe, expect, test } from "bun:test";
import { AssertionError } from "../../../../src/assert.ts";
import { decide } from "../../../../src/broker/policy/decide.ts";
import {
  buildPolicy,
  PolicyAssembly,
  serializePolicy,
} from "../../../../src/broker/policy/policy-build.ts";
import type { Policy, PolicySource } from "../../../../src/broker/policy/rules.ts";
import { client, parse } from "./policy-fixture.ts";

const RULES = Array.from(
  { length: 600 },
  (_, at) =>
    `[[rule]]\nid = "r${at}"\nallow = ["publish"]\ntopics = ["apps.a${at}.>"]\nuser = ${at}\n`,
);

const POLICY = parse(`${RULES.join("")}
[[rule]]
id = "all-keys"
deny = ["call"]
topics = ["x"]
uid = "5-9"
unit = "a.service"
exe = "/bin/a"
label = "l"

[[topic]]
topics = ["x"]
retain = true

[limits]
fds = 7
`);

function assembled(source: PolicySource): Policy {
  const assembly = new PolicyAssembly();
  for (const piece of serializePolicy(source)) assembly.add(piece);
  return assembly.finish();
}

function sourceOf({ index, settings, ...source }: Policy): PolicySource {
  return source;
}

describe("PolicyAssembly", () => {
  test("makes of the pieces the policy that they were cut from", () => {
    expect(sourceOf(assembled(POLICY))).toEqual(sourceOf(POLICY));
  });

  test("brings the settings of topics along", () => {
    expect(assembled(POLICY).settings.find("x", "retain")).toMatchObject({ retain: true });
  });

  test("decides as the policy that was built at once", () => {
    const policy = assembled(POLICY);

    for (const uid of [0, 249, 250, 599]) {
      const decision = decide(policy, client(uid), "publish", `apps.a${uid}.x`);

      expect(decision).toEqual({ allowed: true, rule: `r${uid}` });
    }
    expect(decide(policy, client(5), "publish", "apps.a6.x").allowed).toBe(false);
  });

  test("gets more than one piece for many rules, and none of them large", () => {
    const pieces = serializePolicy(POLICY);

    expect(pieces.length).toBeGreaterThan(3);
    for (const piece of pieces) expect(piece.length).toBeLessThan(200_000);
  });

  test("is not finished before its first piece", () => {
    expect(() => new PolicyAssembly().finish()).toThrow(AssertionError);
  });
});

test("buildPolicy() takes what structuredClone() makes of a source", () => {
  const policy = buildPolicy(structuredClone(sourceOf(POLICY)));

  expect(decide(policy, client(3), "publish", "apps.a3.x").rule).toBe("r3");
});
