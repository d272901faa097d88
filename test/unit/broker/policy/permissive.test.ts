/** What `mode = "permissive"` changes, and what it must not. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decide, decideSubscribe } from "../../../../src/broker/policy/decide.ts";
import { loadPolicy } from "../../../../src/broker/policy/policy-file.ts";
import type { Policy } from "../../../../src/broker/policy/rules.ts";
import { client, filesOf, parse } from "./policy-fixture.ts";

const BOB = client(1_001);

const ALLOW_NEWS = '[[rule]]\nid = "news"\nallow = ["publish"]\ntopics = ["news.>"]\nany = true\n';
const DENY_LOCAL =
  '[[rule]]\nid = "no-local"\ndeny = ["publish"]\ntopics = ["news.local"]\nany = true\n';
const PERMISSIVE = 'mode = "permissive"\n';

function twoFiles(main: string, dropIn: string): Policy {
  return loadPolicy("policy.toml", filesOf({ "policy.toml": main, "policy.d/x.toml": dropIn }));
}

describe("decide() by a policy of permissive files alone", () => {
  const policy = parse(PERMISSIVE + ALLOW_NEWS + DENY_LOCAL);

  test("allows what a rule allows, without a mark", () => {
    expect(decide(policy, BOB, "publish", "news.world")).toEqual({ allowed: true, rule: "news" });
  });

  test("allows what a rule denies, and names the rule that would deny", () => {
    expect(decide(policy, BOB, "publish", "news.local")).toEqual({
      allowed: true,
      rule: "news",
      wouldDeny: { rule: "no-local" },
    });
  });

  test("allows what no rule allows, and marks it", () => {
    const decision = decide(policy, BOB, "publish", "sensors.a");

    expect(decision).toEqual({ allowed: true, rule: undefined, wouldDeny: { rule: undefined } });
    expect(decideSubscribe(policy, BOB, "sensors.>").wouldDeny).toEqual({ rule: undefined });
  });

  test("denies clients with unmapped ids all the same", () => {
    const stranger = client(65_534, { unmapped: true });

    expect(decide(policy, stranger, "publish", "news.world").allowed).toBe(false);
    expect(decideSubscribe(policy, stranger, ">").allowed).toBe(false);
  });
});

describe("decide() by an enforced main file and a permissive drop-in", () => {
  test("denies what no rule allows", () => {
    const policy = twoFiles(ALLOW_NEWS, PERMISSIVE + DENY_LOCAL);

    expect(decide(policy, BOB, "publish", "sensors.a")).toEqual({
      allowed: false,
      rule: undefined,
    });
  });

  test("allows and marks what the drop-in alone denies", () => {
    const policy = twoFiles(ALLOW_NEWS, PERMISSIVE + DENY_LOCAL);

    expect(decide(policy, BOB, "publish", "news.local").wouldDeny).toEqual({ rule: "no-local" });
  });

  test("denies what the main file denies, whatever the drop-in allows", () => {
    const policy = twoFiles(DENY_LOCAL, PERMISSIVE + ALLOW_NEWS);

    expect(decide(policy, BOB, "publish", "news.local")).toEqual({
      allowed: false,
      rule: "no-local",
    });
  });

  test("a permissive deny grants nothing", () => {
    const policy = twoFiles(
      ALLOW_NEWS,
      `${PERMISSIVE}[[rule]]\ndeny = ["publish"]\ntopics = [">"]\nany = true\n`,
    );

    expect(decide(policy, BOB, "publish", "sensors.a").allowed).toBe(false);
  });

  test("an allow of the drop-in is a grant like any other", () => {
    const policy = twoFiles(DENY_LOCAL, PERMISSIVE + ALLOW_NEWS);

    expect(decide(policy, BOB, "publish", "news.world")).toEqual({ allowed: true, rule: "news" });
  });
});

test("making a file permissive never takes a right away", () => {
  const rule = fc
    .tuple(fc.constantFrom("allow", "deny"), fc.constantFrom("a", "b", ">"), fc.nat({ max: 2 }))
    .map(
      ([key, topic, user]) =>
        `[[rule]]\n${key} = ["publish"]\ntopics = ["${topic}"]\nuser = ${user}\n`,
    );
  const file = fc.array(rule, { minLength: 1, maxLength: 4 }).map((rules) => rules.join(""));
  const modes = fc.tuple(fc.boolean(), fc.boolean());
  fc.assert(
    fc.property(file, file, modes, fc.nat({ max: 2 }), (main, dropIn, [first, second], uid) => {
      const strict = twoFiles(main, dropIn);
      const loose = twoFiles(
        first ? PERMISSIVE + main : main,
        second ? PERMISSIVE + dropIn : dropIn,
      );

      for (const topic of ["a", "b", "c"]) {
        if (!decide(strict, client(uid), "publish", topic).allowed) continue;
        expect(decide(loose, client(uid), "publish", topic).allowed).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});
