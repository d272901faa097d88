/**
 * The house rules that no linter knows, each a pure function from files to findings.
 *
 * They read text and no syntax tree: the formatter guarantees that a top-level declaration starts
 * in column 0 and an import names its file in double quotes. Function lengths are biome's work.
 * Must not read files itself: test/tidy.test.ts hands them in, and proves that each rule can fail.
 */

import { dirname, join } from "node:path";

/** One file of the checkout. */
export interface SourceFile {
  /** Relative to the root of the checkout, with slashes. */
  readonly path: string;
  readonly text: string;
}

const FILE_LINES_MAX = 500;

/** What each room may import: its own files, other rooms, and packages. */
const ROOMS: Record<string, { rooms: readonly string[]; packages: readonly string[] }> = {
  leaves: { rooms: [], packages: [] },
  ffi: { rooms: ["leaves"], packages: ["bun:ffi", "node:*"] },
  protocol: { rooms: ["leaves"], packages: [] },
  broker: {
    rooms: ["leaves", "ffi", "protocol"],
    packages: ["bun", "node:*", "toml-eslint-parser", "valibot"],
  },
  client: { rooms: ["leaves", "ffi", "protocol"], packages: ["bun", "node:*", "msgpackr"] },
  cli: {
    rooms: ["leaves", "ffi", "protocol", "broker", "client"],
    packages: ["bun", "node:*", "commander", "pino"],
  },
};

/** Imports run one way: leaves <- {ffi, protocol} <- {broker, client} <- cli. */
export function findWrongImports(file: SourceFile): string[] {
  const room = roomOf(file.path);
  if (room === undefined) return [];
  const allowed = ROOMS[room];
  if (allowed === undefined) return [`${file.path}: "${room}" is not a room of src/`];

  return importsOf(file).flatMap(({ target }) => {
    const targetRoom = roomOf(target);
    if (targetRoom === room) return [];
    if (targetRoom !== undefined) {
      return allowed.rooms.includes(targetRoom) ? [] : [`${file.path}: ${room} imports ${target}`];
    }
    if (room === "cli" && target === "package.json") return [];
    return allowed.packages.includes(packageNameOf(target))
      ? []
      : [`${file.path}: ${room} imports the package ${target}`];
  });
}

/** "msgpackr" for msgpackr/index-no-eval, "node:*" for every module of Node. */
function packageNameOf(target: string): string {
  if (target.startsWith("node:")) return "node:*";
  return /^(@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? target;
}

/** Files that need each other cannot be understood, or loaded, alone. Types may go in circles. */
export function findImportCycles(files: readonly SourceFile[]): string[] {
  const targets = new Map<string, string[]>();
  for (const file of files) {
    const needed = importsOf(file).filter(({ typeOnly }) => !typeOnly);
    targets.set(
      file.path,
      needed.map(({ target }) => target),
    );
  }
  const finished = new Set<string>();
  const findings: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      findings.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      return;
    }
    if (finished.has(path)) return;
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path]);
    finished.add(path);
  };
  for (const path of targets.keys()) visit(path, []);
  return findings;
}

/** Only src/cli talks to the terminal and ends the process. */
export function findProcessUse(file: SourceFile): string[] {
  if (!file.path.startsWith("src/") || roomOf(file.path) === "cli") return [];
  return findLines(file, /\bprocess\.(argv|exit|exitCode|std(in|out|err))\b|\bconsole\b/);
}

/** A file that is too long does a second thing. */
export function findLongFile(file: SourceFile): string[] {
  const lines = file.text.split("\n").length - 1;
  return lines > FILE_LINES_MAX ? [`${file.path}: ${lines} lines, limit is ${FILE_LINES_MAX}`] : [];
}

/** File names are kebab-case nouns that say what is inside. */
export function findBadFileName(file: SourceFile): string[] {
  const bad = file.path.split("/").filter((part) => {
    const [stem = "", ...suffixes] = part.split(".");
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*$/;
    return ![stem, ...suffixes].every((piece) => kebab.test(piece)) || BANNED_NAME.test(stem);
  });
  return bad.map((part) => `${file.path}: "${part}" is not a name for a file`);
}

const BANNED_NAME = /^(utils?|helpers?|common|misc|types?)$/;

/** Work that is left belongs into an issue. */
export function findLeftWork(file: SourceFile): string[] {
  // In pieces, so that this line does not find itself.
  return findLines(
    file,
    new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX"].join("|")})\\b`),
    {
      comments: true,
    },
  );
}

/** Tests are skipped through test/support/loud-skip.ts or not at all. */
export function findQuietSkips(file: SourceFile): string[] {
  if (file.path === "test/support/loud-skip.ts") return [];
  const skip = /\b(test|it|describe)(\.\w+)*\.(skip|skipIf|only|todo|todoIf|if|failing)\b/;
  return findLines(file, skip);
}

/**
 * Tests with other processes await a rejection themselves (rejectionOf): Bun's matcher waits within the
 * call, and now and then the event loop stands still until the time-out of the test.
 */
export function findBlockingExpectations(file: SourceFile): string[] {
  if (!file.path.startsWith("test/integration/")) return [];
  return findLines(file, /\)\.(rejects|resolves)\b/);
}

/** Those that look again and again, or read slowly because they are told to. */
const FILES_WITH_PAUSES = new Set([
  "test/support/eventually.ts",
  "test/support/client-process.ts",
  "test/support/service-process.ts",
  "test/integration/bookkeeper-fixture.ts",
  // Outside of the checkout it has nothing to wait with.
  "test/package/consumer/consumer.ts",
]);

/**
 * Tests wait for conditions (eventually), or for one turn of the event loop (`Bun.sleep(0)`): what has
 * happened after some milliseconds, or within a number of ticks, depends on what else the machine does.
 */
export function findTimedWaits(file: SourceFile): string[] {
  if (!file.path.startsWith("test/") || FILES_WITH_PAUSES.has(file.path)) return [];
  return findLines(file, /\bBun\.sleep(Sync)?\((?!0\))|\bsetTimeout\b|\bcpuUsage\b/);
}

/**
 * Each export has a docstring. Exports without an empty line between them share one, and constants
 * may share a line comment instead, such as the man page they are from.
 */
export function findUndocumentedExports(file: SourceFile): string[] {
  const findings: string[] = [];
  let comment: "none" | "line" | "docstring" = "none";
  for (const [index, line] of file.text.split("\n").entries()) {
    if (line === "") comment = "none";
    if (line.startsWith("//") && comment === "none") comment = "line";
    if (line.startsWith("/**")) comment = "docstring";
    const [, kind, name] = EXPORTED_DECLARATION.exec(line) ?? [];
    if (kind === undefined || comment === "docstring") continue;
    if (kind === "const" && comment === "line") continue;
    findings.push(`${file.path}:${index + 1}: ${name} has no docstring`);
  }
  return findings;
}

const EXPORTED_DECLARATION =
  /^export (?:declare |async |abstract )*(function\*?|class|const|let|interface|type) (\w+|\[.+\])/;

interface Import {
  /** Path from the root of the checkout, or name of a package. */
  readonly target: string;
  readonly typeOnly: boolean;
}

/** Every file and package that a file names in an import, an export or an import() call. */
function importsOf(file: SourceFile): Import[] {
  const found: Import[] = [];
  for (const [statement, from, called] of withoutComments(file.text).matchAll(IMPORT)) {
    const target = from ?? called ?? "";
    found.push({
      target: target.startsWith(".") ? join(dirname(file.path), target) : target,
      typeOnly: /^\s*(import|export) type\b/.test(statement),
    });
  }
  return found;
}

const IMPORT =
  /^(?:import|export)\s(?:[^;"'`]*?\sfrom\s)?"([^"]+)"|\b(?:import|require|resolve)\(\s*"([^"]+)"/gm;

/** "ffi" for src/ffi/libc.ts, "leaves" for src/errors.ts, undefined outside of src/. */
function roomOf(path: string): string | undefined {
  const [top, room, ...rest] = path.split("/");
  if (top !== "src" || room === undefined) return undefined;
  return rest.length === 0 ? "leaves" : room;
}

function findLines(file: SourceFile, pattern: RegExp, { comments = false } = {}): string[] {
  const text = comments ? file.text : withoutComments(file.text);
  return text.split("\n").flatMap((line, index) => {
    const match = pattern.exec(line);
    return match === null ? [] : [`${file.path}:${index + 1}: ${match[0]}`];
  });
}

/** The text with comments blanked and strings kept; line numbers stay. */
function withoutComments(text: string): string {
  return text.replace(STRING_OR_COMMENT, (match) =>
    match.startsWith("/") ? match.replace(/[^\n]/g, " ") : match,
  );
}

// Strings come first, so that "http://x" is not taken for a comment.
const STRING_OR_COMMENT =
  /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
