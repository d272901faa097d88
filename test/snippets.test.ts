/** The programs in the documents are such that the compiler takes them, as in a strict project. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "./support/cli-process.ts";
import { SNIPPET_WORDS } from "./support/snippet-words.ts";

const ROOT = join(import.meta.dir, "..");
const DOCUMENTS = ["README.md", "docs/delivery.md", "docs/errors.md"];

/** A program in a document, which begins in this line. */
interface Snippet {
  readonly line: number;
  readonly text: string;
}

function snippetsOf(markdown: string): Snippet[] {
  return [...markdown.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(({ index, 1: text = "" }) => ({
    line: markdown.slice(0, index).split("\n").length + 1,
    text,
  }));
}

/** Compiles programs. @returns what is wrong, by the name of the program */
function complaintsAbout(programs: ReadonlyMap<string, string>): string {
  using directory = new TemporaryDirectory();
  const compilerOptions = {
    // A program shows a part of one; what it leaves out may be used there.
    noUnusedLocals: false,
    noPropertyAccessFromIndexSignature: false,
    typeRoots: [join(ROOT, "node_modules/@types")],
    paths: { seqbus: [join(ROOT, "src/client/index.ts")] },
  };
  const declarations = ["words.d.ts", join(ROOT, "src/client/msgpackr-no-eval.d.ts")];
  const files = [...declarations, ...[...programs.keys()].map((name) => `${name}.ts`)];
  const config = { extends: join(ROOT, "tsconfig.json"), compilerOptions, files, include: [] };
  directory.write("tsconfig.json", JSON.stringify(config));
  directory.write("words.d.ts", SNIPPET_WORDS);
  for (const [name, text] of programs) directory.write(`${name}.ts`, `${text}\nexport {};\n`);
  const compiler = join(ROOT, "node_modules/.bin/tsc");
  return Bun.spawnSync([compiler, "--project", "."], { cwd: directory.path }).stdout.toString();
}

describe("the programs", () => {
  test.each(DOCUMENTS)("in %s compile", (path) => {
    const snippets = snippetsOf(readFileSync(join(ROOT, path), "utf8"));
    expect(snippets).not.toBeEmpty();
    const programs = snippets.map(({ line, text }) => [`line-${line}`, text] as const);
    expect(complaintsAbout(new Map(programs))).toBe("");
  });
});

describe("this test", () => {
  test("finds programs and their lines", () => {
    expect(snippetsOf("a\n```ts\nlet b;\n```\n```toml\nc\n```\n```ts\nd();\n```\n")).toEqual([
      { line: 3, text: "let b;\n" },
      { line: 9, text: "d();\n" },
    ]);
  });

  test("fails for a program that does not compile", () => {
    const programs = new Map([["wrong", 'bus.publish("a");']]);
    expect(complaintsAbout(programs)).toContain("wrong.ts(1,");
  });
});
