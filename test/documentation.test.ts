/** The documents say what the code does, and their links lead somewhere. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ERROR_CODES } from "../src/errors.ts";

const ROOT = join(import.meta.dir, "..");
const DOCUMENTS = ["*.md", "docs/**/*.md", "examples/**/*.md"].flatMap((pattern) => [
  ...new Bun.Glob(pattern).scanSync({ cwd: ROOT }),
]);

interface DocumentedCode {
  readonly code: string;
  readonly meaning: string;
  /** The heading above the table. */
  readonly className: string;
  /** Who throws it, and what to do. */
  readonly rest: readonly string[];
}

/** The rows of the tables with four columns whose first cell is a code. */
function documentedCodes(markdown: string): DocumentedCode[] {
  const found: DocumentedCode[] = [];
  let className = "";
  for (const line of markdown.split("\n")) {
    className = /^## (\w+)$/.exec(line)?.[1] ?? className;
    const [, code, meaning, ...rest] =
      /^\| `([A-Z_]+)` \| (.+?) \| (.+?) \| (.+?) \|$/.exec(line) ?? [];
    if (code !== undefined && meaning !== undefined) found.push({ code, meaning, className, rest });
  }
  return found;
}

/** Links that have no scheme, without their fragments. */
function relativeLinks(markdown: string): string[] {
  const prose = markdown.replace(/```[\s\S]*?```/g, "").replace(/`[^`\n]*`/g, "");
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^([a-z]+:|#)/.test(target))
    .map((target) => target.replace(/#.*$/, ""));
}

/** "ProtocolError" for PROTOCOL_VERSION. */
function classOf(code: string): string {
  const prefix = code.slice(0, code.indexOf("_"));
  return `${prefix.charAt(0)}${prefix.slice(1).toLowerCase()}Error`;
}

describe("docs/errors.md", () => {
  const text = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
  const documented = documentedCodes(text);

  test("has every code once, with the sentence of src/errors.ts, in the same order", () => {
    const rows = documented.map(({ code, meaning }) => [code, meaning]);
    expect(rows).toEqual(Object.entries(ERROR_CODES));
  });

  test("says what the figures of every LIMIT_ code count, in the same order", () => {
    const rows = text.matchAll(/^\| `(LIMIT_[A-Z_]+)` \| [^|]+ \|$/gm);
    const limits = Object.keys(ERROR_CODES).filter((code) => code.startsWith("LIMIT_"));
    expect(Array.from(rows, ([, code]) => code)).toEqual(limits);
  });

  test("has every code under its class", () => {
    const misplaced = documented.filter(({ code, className }) => className !== classOf(code));
    expect(misplaced).toEqual([]);
  });
});

describe("each document", () => {
  test("is found by this test", () => {
    expect(DOCUMENTS).toContain("docs/errors.md");
    expect(DOCUMENTS).toContain("README.md");
  });

  test.each(DOCUMENTS)("%s links to files that exist", (path) => {
    const targets = relativeLinks(readFileSync(join(ROOT, path), "utf8"));
    const broken = targets.filter((target) => !existsSync(join(ROOT, dirname(path), target)));
    expect(broken).toEqual([]);
  });
});

describe("this test", () => {
  test("reads a code, its meaning and its class", () => {
    expect(documentedCodes("## AError\n| `A_B` | It is. | client | nothing |\n")).toEqual([
      { code: "A_B", meaning: "It is.", className: "AError", rest: ["client", "nothing"] },
    ]);
  });

  test("sees relative links and no others", () => {
    const text = "[a](a.md#b) [c](https://c) [d](#d) `[e](e.md)`\n```\n[f](f.md)\n```\n[g](../g)";
    expect(relativeLinks(text)).toEqual(["a.md", "../g"]);
  });
});
