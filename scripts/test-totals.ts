/**
 * Turns the log of a test run into one line, "N passed, N failed", and a verdict that is stricter
 * than the exit code: a skipped test fails too. Says again what failed and why, since the log may be
 * kept only in part. Used by .ci/run.
 *
 *     bun scripts/test-totals.ts LOG EXIT_CODE_OF_THE_RUN
 *
 * Must not guess: a log without the closing lines of `bun test` has no totals.
 */

import { readFileSync } from "node:fs";

/** What the closing lines of `bun test` count. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
  /** Skipped, or only planned. */
  readonly skipped: number;
}

/**
 * Reads the last closing block of a log: lines such as " 12 pass" and then "Ran 13 tests across".
 * @returns undefined where there is none, or where its lines do not add up
 */
export function parseTotals(log: string): Totals | undefined {
  const lines = Bun.stripANSI(log).trimEnd().split("\n");
  const last = lines.findLastIndex((line) => CLOSING_LINE.test(line));
  const ran = CLOSING_LINE.exec(lines[last] ?? "")?.[1];
  if (ran === undefined) return undefined;

  const counts = { pass: 0, fail: 0, skip: 0, todo: 0 };
  for (let index = last - 1; index >= 0; index--) {
    const [, number, word] = COUNT_LINE.exec(lines[index] ?? "") ?? [];
    if (number === undefined || word === undefined) break;
    if (isCounted(word, counts)) counts[word] = Number(number);
  }
  const { pass, fail, skip, todo } = counts;
  if (pass + fail + skip + todo !== Number(ran)) return undefined;
  return { passed: pass, failed: fail, skipped: skip + todo };
}

const CLOSING_LINE = /^Ran (\d+) tests? across \d+ files?\./;
const COUNT_LINE = /^ ?(?:Snapshots: )?(\d+) (\w+)/;

function isCounted<Counts extends object>(word: PropertyKey, counts: Counts): word is keyof Counts {
  return Object.hasOwn(counts, word);
}

/**
 * What a log says of each test that failed: the lines between the test before it and its own.
 * @returns one text for each, in the order of the log
 */
export function failuresIn(log: string): string[] {
  const failures: string[] = [];
  let since: string[] = [];
  for (const line of Bun.stripANSI(log).split("\n")) {
    if (SUMMARY_LINE.test(line)) break;
    since.push(line);
    if (line.startsWith("(fail) ")) failures.push(since.join("\n").trim());
    if (OUTCOME_LINE.test(line)) since = [];
  }
  return failures;
}

/** What bun ends its account of single tests with, where some failed. */
const SUMMARY_LINE = /^\d+ tests? failed:$/;
const OUTCOME_LINE = /^\((?:pass|fail|skip|todo)\) |^\S+\.test\.ts:$/;

/** Why a run is not good enough; undefined where it is. */
export function findFault(totals: Totals | undefined, exitCode: number): string | undefined {
  if (totals === undefined) return "the log has no totals, the test run did not reach its end";
  if (totals.failed > 0) return `${totals.failed} tests failed`;
  if (totals.skipped > 0) return `${totals.skipped} tests were skipped`;
  if (totals.passed === 0) return "no test ran";
  return exitCode === 0 ? undefined : `the test run ended with exit code ${exitCode}`;
}

if (import.meta.main) {
  const [log = "", exitCode = ""] = process.argv.slice(2);
  const text = readFileSync(log, "utf8");
  const totals = parseTotals(text);
  const fault = findFault(totals, exitCode === "" ? 1 : Number(exitCode));
  for (const failure of failuresIn(text)) console.log(`${failure}\n`);
  if (totals !== undefined) console.log(`${totals.passed} passed, ${totals.failed} failed`);
  if (fault !== undefined) console.error(`tests: ${fault}`);
  process.exit(fault === undefined ? 0 : 1);
}
