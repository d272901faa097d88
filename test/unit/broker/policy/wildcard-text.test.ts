import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  hasWildcard,
  pathWildcardMatches,
  wildcardMatches,
} from "../../../../src/broker/policy/wildcard-text.ts";

describe("wildcardMatches()", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["sensord.service", "sensord.service", true],
    ["sensord.service", "sensord.service2", false],
    ["sensord.service", "sensord", false],
    ["*", "", true],
    ["*", "a/b", true],
    ["app-*.scope", "app-firefox-1.scope", true],
    ["app-*.scope", "app-.scope", true],
    ["app-*.scope", "app-firefox.service", false],
    ["getty@tty?.service", "getty@tty1.service", true],
    ["getty@tty?.service", "getty@tty.service", false],
    ["*a*b", "xaxbxab", true],
    ["*a*b", "xaxbxa", false],
    ["**", "x", true],
    ["a.c", "abc", false],
    ["", "", true],
    ["", "a", false],
  ];
  for (const [pattern, text, matches] of cases) {
    test(`${matches ? "matches" : "does not match"} "${pattern}" with "${text}"`, () => {
      expect(wildcardMatches(pattern, text)).toBe(matches);
    });
  }

  test("comes to an end where there are more ways to match than could be tried", () => {
    expect(wildcardMatches(`${"*a".repeat(1_000)}*b`, "a".repeat(2_000))).toBe(false);
  });
});

describe("pathWildcardMatches()", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["/usr/bin/*", "/usr/bin/seqbus", true],
    ["/usr/bin/*", "/usr/bin/sub/seqbus", false],
    ["/usr/*/seqbus", "/usr/bin/seqbus", true],
    ["/usr/*/seqbus", "/usr/a/b/seqbus", false],
    ["/usr/bin?x", "/usr/bin/x", false],
    ["/usr/bin?x", "/usr/bin-x", true],
    ["app-*", "user@1000.service/app-1.scope", false],
    ["*", "user@1000.service/app-1.scope", false],
    ["user@*.service/*", "user@1000.service/app-1.scope", true],
  ];
  for (const [pattern, text, matches] of cases) {
    test(`${matches ? "matches" : "does not match"} "${pattern}" with "${text}"`, () => {
      expect(pathWildcardMatches(pattern, text)).toBe(matches);
    });
  }
});

test("both agree with the regular expressions that they stand for", () => {
  const pattern = fc.string({ unit: fc.constantFrom("a", "b", "/", "*", "?"), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 8 });
  fc.assert(
    fc.property(pattern, text, (written, actual) => {
      const any = written.replaceAll("?", "[^]").replaceAll("*", "[^]*");
      const inName = written.replaceAll("?", "[^/]").replaceAll("*", "[^/]*");

      expect(wildcardMatches(written, actual)).toBe(new RegExp(`^${any}$`).test(actual));
      expect(pathWildcardMatches(written, actual)).toBe(new RegExp(`^${inName}$`).test(actual));
    }),
    { numRuns: 5_000 },
  );
});

test("hasWildcard() tells texts from patterns", () => {
  expect(["a", "a*", "?", ""].map(hasWildcard)).toEqual([false, true, true, false]);
});
