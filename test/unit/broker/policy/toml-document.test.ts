import { describe, expect, test } from "bun:test";
import { parseTomlDocument, type TomlPath } from "../../../../src/broker/policy/toml-document.ts";
import { refusalOf } from "./policy-fixture.ts";

const TEXT = `title = "x"

[[rule]]
list = [1,
  [2.5, "s"]]
table = { a.b = true, 'c d' = 1979-05-27 }

  [rule.sub]
  deep.key = 7

[[rule]]
list = []
`;

const document = parseTomlDocument(TEXT, "x.toml");

describe("parseTomlDocument()", () => {
  test("returns tables, lists and values as they nest", () => {
    expect(document.root["title"]).toBe("x");
    expect(document.root["rule"]).toEqual([
      {
        list: [1n, [2.5, "s"]],
        table: { a: { b: true }, "c d": new Date("1979-05-27") },
        sub: { deep: { key: 7n } },
      },
      { list: [] },
    ]);
  });

  test("tells integers from floats of the same value", () => {
    const { root } = parseTomlDocument("a = 1\nb = 1.0\nc = 0x10\nd = 1e2", "x.toml");

    expect([root["a"], root["b"], root["c"], root["d"]]).toEqual([1n, 1, 16n, 100]);
  });

  test("keeps names of Object.prototype as plain keys", () => {
    const { root } = parseTomlDocument("__proto__ = 1\nconstructor.x = 2\ntoString = 3", "x.toml");

    expect(Object.keys(root)).toEqual(["__proto__", "constructor", "toString"]);
    expect(Object.getPrototypeOf(root)).toBeNull();
    expect(root["constructor"]).toEqual({ x: 2n });
  });

  test("refuses what TOML 1.0 does not have", () => {
    const error = refusalOf(() => parseTomlDocument("a = { b = 1,\n c = 2 }", "x.toml"));

    expect(error.line).toBe(2);
  });

  test("keeps the parser's error as cause", () => {
    const error = refusalOf(() => parseTomlDocument("a = ", "x.toml"));

    expect(error.cause).toBeInstanceOf(SyntaxError);
  });
});

describe("TomlDocument.locate()", () => {
  const cases: readonly (readonly [TomlPath, "key" | "value", string])[] = [
    [["title"], "key", "1:1"],
    [["title"], "value", "1:9"],
    [["rule"], "key", "3:3"],
    [["rule"], "value", "3:1"],
    [["rule", 0], "value", "3:1"],
    [["rule", 0, "list", 1], "value", "5:3"],
    [["rule", 0, "list", 1, 1], "value", "5:9"],
    [["rule", 0, "table"], "value", "6:9"],
    [["rule", 0, "table", "a"], "key", "6:11"],
    [["rule", 0, "table", "a", "b"], "key", "6:13"],
    [["rule", 0, "table", "a", "b"], "value", "6:17"],
    [["rule", 0, "table", "c d"], "key", "6:23"],
    [["rule", 0, "sub"], "key", "8:9"],
    [["rule", 0, "sub"], "value", "8:3"],
    [["rule", 0, "sub", "deep", "key"], "key", "9:8"],
    [["rule", 0, "sub", "deep", "key"], "value", "9:14"],
    [["rule", 1], "value", "11:1"],
    [["rule", 1, "list"], "key", "12:1"],
  ];
  for (const [path, origin, place] of cases) {
    test(`finds the ${origin} of ${path.join(".")}`, () => {
      const { line, column } = document.locate(path, origin);

      expect(`${line}:${column}`).toBe(place);
    });
  }

  test("falls back to where the nearest parent starts", () => {
    expect(document.locate([], "key")).toEqual({ line: 1, column: 1 });
    expect(document.locate(["nothing"], "key")).toEqual({ line: 1, column: 1 });
    expect(document.locate(["rule", 1, "nothing", 0], "key")).toEqual({ line: 11, column: 1 });
    expect(document.locate(["title", 0], "value")).toEqual({ line: 1, column: 9 });
  });
});
