import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  checkPattern,
  checkTopicName,
  isReservedTopic,
  patternCovers,
  patternsIntersect,
  refusalOfName,
  splitTokens,
  topicMatches,
} from "../../../src/protocol/topics.ts";

const token = fc.constantFrom("a", "b", "aa", "a$", "$a", "x-y", "~");
const nameTokens = fc.array(token, { minLength: 1, maxLength: 6 });
const patternTokens = fc
  .tuple(fc.array(fc.oneof(token, fc.constant("*")), { maxLength: 6 }), fc.boolean())
  .map(([tokens, rest]) => (rest || tokens.length === 0 ? [...tokens, ">"] : tokens));

/** Matching as section 5 of the protocol words it, token by token. */
function matchesNaively(pattern: readonly string[], name: readonly string[]): boolean {
  const [first, ...others] = pattern;
  const [head, ...tail] = name;
  if (first === undefined || head === undefined) return first === head;
  if (first === ">") return true;
  return (first === "*" || first === head) && matchesNaively(others, tail);
}

function matchesReference(pattern: readonly string[], name: readonly string[]): boolean {
  const first = pattern[0] ?? "";
  if (name[0]?.startsWith("$") === true && (first === "*" || first === ">")) return false;
  return matchesNaively(pattern, name);
}

describe("checkTopicName()", () => {
  test.each([
    ["a"],
    ["a.b"],
    ["sensors.kitchen.temperature"],
    ["$bus.clients"],
    ["a.$b"],
    ["!.~"],
    ["UPPER-lower_0:/@"],
    [Array(16).fill("t").join(".")],
    ["x".repeat(255)],
  ])("takes %p", (name) => {
    expect(checkTopicName(name)).toBe(undefined);
  });

  test.each([
    ["", "it is empty"],
    [".", "it has an empty token"],
    [".a", "it has an empty token"],
    ["a.", "it has an empty token"],
    ["a..b", "it has an empty token"],
    ["*", 'it has a "*" or ">"'],
    ["a.>", 'it has a "*" or ">"'],
    ["a*b", 'it has a "*" or ">"'],
    ["a b", "it has a character that is not visible ASCII"],
    ["a.\u007f", "it has a character that is not visible ASCII"],
    ["küche", "it has a character that is not visible ASCII"],
    ["a.\ud800", "it has a character that is not visible ASCII"],
    [Array(17).fill("t").join("."), "it has more than 16 tokens"],
    ["x".repeat(256), "it is longer than 255 bytes"],
    ["x".repeat(1 << 24), "it is longer than 255 bytes"],
  ])("says why it refuses a name", (name, reason) => {
    expect(checkTopicName(name)).toBe(reason);
  });

  test("takes exactly the characters 0x21 to 0x7e without dot, star and greater-than", () => {
    const taken: number[] = [];
    for (let code = 0; code < 0x300; code += 1) {
      if (checkTopicName(String.fromCharCode(code)) === undefined) taken.push(code);
    }
    const wanted = Array.from({ length: 0x7e - 0x21 + 1 }, (_, index) => 0x21 + index);
    expect(taken).toEqual(wanted.filter((code) => ![0x2a, 0x2e, 0x3e].includes(code)));
  });
});

describe("checkPattern()", () => {
  test.each([["*"], [">"], ["a.*"], ["*.a"], ["*.*.>"], ["a.>"], ["$bus.>"], ["a.b"]])(
    "takes %p",
    (pattern) => {
      expect(checkPattern(pattern)).toBe(undefined);
    },
  );

  test.each([
    ["", "it is empty"],
    ["a..>", "it has an empty token"],
    [">.a", '">" is not its last token'],
    [">.>", '">" is not its last token'],
    ["a*", '"*" or ">" is only a part of a token'],
    ["**", '"*" or ">" is only a part of a token'],
    ["a.>>", '"*" or ">" is only a part of a token'],
    ["a.b>", '"*" or ">" is only a part of a token'],
    ["a .>", "it has a character that is not visible ASCII"],
    [Array(17).fill("*").join("."), "it has more than 16 tokens"],
    [`${"x".repeat(254)}.*`, "it is longer than 255 bytes"],
  ])("says why it refuses %p", (pattern, reason) => {
    expect(checkPattern(pattern)).toBe(reason);
  });

  test("takes every topic name", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 20 }), (name) => {
        fc.pre(checkTopicName(name) === undefined);
        expect(checkPattern(name)).toBe(undefined);
      }),
    );
  });
});

describe("isReservedTopic()", () => {
  test("is true for names whose first token begins with a dollar sign", () => {
    expect(["$bus.x", "$", "a.$b", "a$"].map(isReservedTopic)).toEqual([true, true, false, false]);
  });
});

describe("refusalOfName()", () => {
  test.each([
    ["sensors.kitchen", undefined],
    ["$bus.clients", 'Cannot serve "$bus.clients": it belongs to the bus'],
    ["a..b", "Cannot serve: the name is malformed, it has an empty token"],
    ["$bus..b", "Cannot serve: the name is malformed, it has an empty token"],
  ])("says of %j: %j", (name, refusal) => {
    expect(refusalOfName(name, "Cannot serve")).toBe(refusal);
  });
});

describe("splitTokens()", () => {
  test("cuts at the dots", () => {
    expect(splitTokens("a.*.>")).toEqual(["a", "*", ">"]);
    expect(splitTokens("a")).toEqual(["a"]);
  });
});

describe("topicMatches()", () => {
  test.each([
    ["sensors.*.temperature", "sensors.kitchen.temperature", true],
    ["sensors.*.temperature", "sensors.temperature", false],
    ["sensors.*.temperature", "sensors.a.b.temperature", false],
    ["sensors.>", "sensors.kitchen", true],
    ["sensors.>", "sensors.a.b", true],
    ["sensors.>", "sensors", false],
    [">", "a", true],
    [">", "$bus.clients", false],
    ["*.clients", "$bus.clients", false],
    ["$bus.>", "$bus.clients", true],
    ["$bus.>", "bus.clients", false],
    ["$bus.*", "$bus.$x", true],
    ["a", "ab", false],
    ["ab", "a", false],
    ["a.*", "a", false],
    ["*", "a.b", false],
  ])("%p on %p is %p", (pattern, name, verdict) => {
    expect(topicMatches(pattern, name)).toBe(verdict);
  });

  test("agrees with matching token by token", () => {
    fc.assert(
      fc.property(patternTokens, nameTokens, (pattern, name) => {
        expect(topicMatches(pattern.join("."), name.join("."))).toBe(
          matchesReference(pattern, name),
        );
      }),
      { numRuns: 2000 },
    );
  });

  test("a literal pattern matches itself alone", () => {
    fc.assert(
      fc.property(nameTokens, nameTokens, (name, other) => {
        expect(topicMatches(name.join("."), other.join("."))).toBe(
          name.join(".") === other.join("."),
        );
      }),
    );
  });
});

/** All lists of 1 to `lengthMax` tokens over an alphabet, joined. */
function everyName(alphabet: readonly string[], lengthMax: number): string[] {
  if (lengthMax === 0) return [];
  const shorter = everyName(alphabet, lengthMax - 1);
  const longer = shorter.flatMap((name) => alphabet.map((last) => `${name}.${last}`));
  return [...new Set([...alphabet, ...shorter, ...longer])];
}

describe("patternsIntersect() and patternCovers()", () => {
  // "c" stands for all tokens that no pattern names; names are one token longer than patterns.
  const names = everyName(["a", "b", "c", "$a"], 4);
  const patterns = everyName(["a", "b", "$a", "*", ">"], 3).filter(
    (pattern) => checkPattern(pattern) === undefined,
  );
  const matched = new Map(
    patterns.map((pattern) => {
      const found = names.filter((name) => matchesReference(pattern.split("."), name.split(".")));
      return [pattern, new Set(found)];
    }),
  );

  test("the brute force has something to compare", () => {
    expect(patterns.length).toBeGreaterThan(100);
    expect(names).toHaveLength(4 + 16 + 64 + 256);
  });

  test("patternsIntersect() agrees with brute force", () => {
    const wrong: string[] = [];
    for (const [a, ofA] of matched) {
      for (const [b, ofB] of matched) {
        if (patternsIntersect(a, b) === ofA.isDisjointFrom(ofB)) wrong.push(`${a} ${b}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("patternCovers() agrees with brute force", () => {
    const wrong: string[] = [];
    for (const [outer, ofOuter] of matched) {
      for (const [inner, ofInner] of matched) {
        if (patternCovers(outer, inner) !== ofInner.isSubsetOf(ofOuter)) {
          wrong.push(`${outer} ${inner}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  test("covering is reflexive and implies intersecting", () => {
    fc.assert(
      fc.property(patternTokens, patternTokens, (a, b) => {
        const [outer, inner] = [a.join("."), b.join(".")];
        expect(patternCovers(outer, outer)).toBe(true);
        if (patternCovers(outer, inner)) expect(patternsIntersect(outer, inner)).toBe(true);
      }),
    );
  });
});
