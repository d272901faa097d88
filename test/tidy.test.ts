/**
 * The house rules hold in every file, and every rule is able to find something.
 * The rules themselves are in test/support/tidy-rules.ts.
 */

import { describe, expect, spyOn, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../package.json" with { type: "json" };
import { skipLoudly } from "./support/loud-skip.ts";
import {
  findBadFileName,
  findBlockingExpectations,
  findImportCycles,
  findLeftWork,
  findLongFile,
  findProcessUse,
  findQuietSkips,
  findTimedWaits,
  findUndocumentedExports,
  findWrongImports,
  type SourceFile,
} from "./support/tidy-rules.ts";

const ROOT = join(import.meta.dir, "..");
const FILES: readonly SourceFile[] = [
  ...new Bun.Glob("{src,test,bench,examples,scripts}/**/*.ts").scanSync({ cwd: ROOT }),
]
  .filter((path) => !path.includes("node_modules/"))
  .sort()
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));
const SOURCES = FILES.filter(({ path }) => path.startsWith("src/"));

function file(path: string, text: string): SourceFile {
  return { path, text };
}

describe("every file", () => {
  test("is found by this test", () => {
    expect(FILES.map(({ path }) => path)).toContain("test/tidy.test.ts");
    expect(SOURCES.map(({ path }) => path)).toContain("src/errors.ts");
  });

  test("imports in the direction leaves <- {ffi, protocol} <- {broker, client} <- cli", () => {
    expect(SOURCES.flatMap(findWrongImports)).toEqual([]);
  });

  test("can be loaded without a cycle of imports", () => {
    expect(findImportCycles(FILES)).toEqual([]);
  });

  test("leaves printing, arguments and exiting to src/cli", () => {
    expect(SOURCES.flatMap(findProcessUse)).toEqual([]);
  });

  test("has at most 500 lines", () => {
    expect(FILES.flatMap(findLongFile)).toEqual([]);
  });

  test("has a name that says what is inside", () => {
    expect(FILES.flatMap(findBadFileName)).toEqual([]);
  });

  test("leaves no work for later", () => {
    expect(FILES.flatMap(findLeftWork)).toEqual([]);
  });

  test("skips no test quietly", () => {
    expect(FILES.flatMap(findQuietSkips)).toEqual([]);
  });

  test("waits for other processes without standing still", () => {
    expect(FILES.flatMap(findBlockingExpectations)).toEqual([]);
  });

  test("waits for conditions and not for time", () => {
    expect(FILES.flatMap(findTimedWaits)).toEqual([]);
  });

  test("documents what it exports", () => {
    expect(SOURCES.flatMap(findUndocumentedExports)).toEqual([]);
  });
});

describe("package.json", () => {
  test("has msgpackr as its only runtime dependency", () => {
    expect(Object.keys(manifest.dependencies)).toEqual(["msgpackr"]);
  });

  test("names exact versions", () => {
    const versions = Object.values({ ...manifest.dependencies, ...manifest.devDependencies });
    expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  test("pins one Bun, and this test runs on it", () => {
    const pinned = manifest.devDependencies.bun;
    expect(manifest.engines.bun).toBe(pinned);
    expect(manifest.packageManager).toBe(`bun@${pinned}`);
    expect(Bun.version).toBe(pinned);
  });
});

describe("findWrongImports()", () => {
  const CASES: [path: string, text: string, findings: string[]][] = [
    ["src/protocol/a.ts", 'import { b } from "../ffi/b.ts";\n', ["protocol imports src/ffi/b.ts"]],
    ["src/ffi/a.ts", 'import { b } from "../protocol/b.ts";\n', ["ffi imports src/protocol/b.ts"]],
    ["src/broker/a.ts", 'export * from "../client/b.ts";\n', ["broker imports src/client/b.ts"]],
    [
      "src/client/a.ts",
      'import type { B } from "../broker/b.ts";\n',
      ["client imports src/broker/b.ts"],
    ],
    ["src/client/a.ts", 'const b = import("../cli/b.ts");\n', ["client imports src/cli/b.ts"]],
    ["src/errors.ts", 'import "./ffi/b.ts";\n', ["leaves imports src/ffi/b.ts"]],
    [
      "src/broker/a.ts",
      'import {\n  b,\n} from "bun:ffi";\n',
      ["broker imports the package bun:ffi"],
    ],
    ["src/client/a.ts", 'import * as v from "valibot";\n', ["client imports the package valibot"]],
    ["src/protocol/a.ts", 'import b from "node:fs";\n', ["protocol imports the package node:fs"]],
    ["src/extra/a.ts", "", ['"extra" is not a room of src/']],
    ["src/client/a.ts", 'import { pack } from "msgpackr";\nimport "node:fs";\n', []],
    ["src/client/a.ts", 'import { pack } from "msgpackr/index-no-eval";\n', []],
    [
      "src/client/a.ts",
      'import { pack } from "msgpackr2";\n',
      ["client imports the package msgpackr2"],
    ],
    ["src/broker/policy/a.ts", 'import { b } from "../../protocol/b.ts";\n', []],
    ["src/client/a.ts", '/** import { b } from "../broker/b.ts"; */\n', []],
    ["src/client/a.ts", 'const url = "http://x"; import("../errors.ts");\n', []],
    ["test/a.ts", 'import { b } from "../src/cli/b.ts";\n', []],
  ];

  test.each(CASES)("reads %s with %j", (path, text, findings) => {
    expect(findWrongImports(file(path, text))).toEqual(findings.map((rest) => `${path}: ${rest}`));
  });
});

describe("each rule finds what it looks for", () => {
  test("findImportCycles() names the files of the circle", () => {
    const a = file("src/a.ts", 'import { b } from "./b.ts";\n');
    const b = file("src/b.ts", 'import { c } from "./c.ts";\n');
    const c = file("src/c.ts", 'import { b } from "./b.ts";\n');
    expect(findImportCycles([a, b, c])).toEqual(["src/b.ts -> src/c.ts -> src/b.ts"]);
    expect(findImportCycles([a, b, file("src/c.ts", "")])).toEqual([]);
  });

  test("findImportCycles() lets types go in circles", () => {
    const a = file("src/a.ts", 'import { b } from "./b.ts";\n');
    const b = file("src/b.ts", 'import type { A } from "./a.ts";\n');
    expect(findImportCycles([a, b])).toEqual([]);
  });

  test("findProcessUse() finds printing and exiting outside of src/cli", () => {
    const text = "// console.log\nconsole.log(1);\nprocess.exit(1);\n";
    expect(findProcessUse(file("src/broker/a.ts", text))).toEqual([
      "src/broker/a.ts:2: console",
      "src/broker/a.ts:3: process.exit",
    ]);
    expect(findProcessUse(file("src/cli/a.ts", text))).toEqual([]);
  });

  test("findLongFile() finds the 501st line", () => {
    expect(findLongFile(file("a.ts", "x\n".repeat(500)))).toEqual([]);
    expect(findLongFile(file("a.ts", "x\n".repeat(501)))).toEqual([
      "a.ts: 501 lines, limit is 500",
    ]);
  });

  test.each(["src/util.ts", "src/helpers/a.ts", "src/types.ts", "src/sendQueue.ts", "src/A.ts"])(
    "findBadFileName() refuses %s",
    (path) => {
      expect(findBadFileName(file(path, ""))).toHaveLength(1);
    },
  );

  test.each(["src/send-queue.ts", "test/unit/frame.test.ts", "bench/codec.bench.ts"])(
    "findBadFileName() accepts %s",
    (path) => {
      expect(findBadFileName(file(path, ""))).toEqual([]);
    },
  );

  test("findLeftWork() finds a mark in a comment", () => {
    const mark = "TO" + "DO";
    expect(findLeftWork(file("a.ts", `// ${mark} later\n`))).toEqual([`a.ts:1: ${mark}`]);
  });

  test("findQuietSkips() finds each way to skip a test", () => {
    // In pieces, so that the rule does not find this list.
    const calls = ["test skip", "test only", "describe todo", "test concurrent skipIf", "it if"];
    for (const call of calls.map((words) => words.replaceAll(" ", "."))) {
      expect(findQuietSkips(file("test/a.test.ts", `${call}("a");\n`))).toEqual([
        `test/a.test.ts:1: ${call}`,
      ]);
    }
    expect(findQuietSkips(file("test/a.test.ts", 'test.each([])("a");\n'))).toEqual([]);
  });

  test("findBlockingExpectations() finds matchers that wait, in integration tests alone", () => {
    const text = "await expect(asked).rejects.toBe(1);\n";
    const findings = ["test/integration/a.test.ts:1: ).rejects"];
    expect(findBlockingExpectations(file("test/integration/a.test.ts", text))).toEqual(findings);
    expect(findBlockingExpectations(file("test/unit/a.test.ts", text))).toEqual([]);
  });

  test("findTimedWaits() finds what sleeps, in tests alone", () => {
    // In pieces, so that the rule does not find this list.
    for (const call of ["Bun.sleep" + "(", "set" + "Timeout", "cpu" + "Usage"]) {
      const text = `${call} 20`;
      expect(findTimedWaits(file("test/a.test.ts", text))).toEqual([`test/a.test.ts:1: ${call}`]);
      expect(findTimedWaits(file("src/a.ts", text))).toEqual([]);
      expect(findTimedWaits(file("test/support/eventually.ts", text))).toEqual([]);
    }
    expect(findTimedWaits(file("test/a.test.ts", "await Bun.sleep(0);\n"))).toEqual([]);
  });

  test("findUndocumentedExports() wants a docstring before the first of a group", () => {
    const good =
      "/** A. */\nexport const A = 1;\nexport const B = 2;\n\n// C\nexport const C = 3;\n";
    expect(findUndocumentedExports(file("a.ts", good))).toEqual([]);
    const bad =
      "/** File. */\n\nexport const A = 1;\n\n// F\nexport async function f() {\n\nexport const [b, c] = d();\n";
    expect(findUndocumentedExports(file("a.ts", bad))).toEqual([
      "a.ts:3: A has no docstring",
      "a.ts:6: f has no docstring",
      "a.ts:8: [b, c] has no docstring",
    ]);
  });
});

describe("skipLoudly()", () => {
  test("throws where CI is set", () => {
    expect(() => skipLoudly("the moon is missing", { CI: "true" })).toThrow(
      "Not skipped under CI: the moon is missing",
    );
  });

  test("says on stderr what is missing where CI is not set", () => {
    const write = spyOn(process.stderr, "write").mockImplementation(() => true);
    skipLoudly("the moon is missing", { CI: "false" });
    expect(write.mock.calls).toEqual([["SKIPPED: the moon is missing\n"]]);
    write.mockRestore();
  });
});
