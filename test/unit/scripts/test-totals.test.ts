/** What .ci/run makes of the closing lines of `bun test`. */

import { describe, expect, test } from "bun:test";
import { failuresIn, findFault, parseTotals } from "../../../scripts/test-totals.ts";

const CLOSING =
  " 12 pass\n 1 skip\n 2 todo\n 3 fail\n 70 expect() calls\nRan 18 tests across 4 files. [2.00s]\n";

describe("parseTotals()", () => {
  test("reads the closing lines", () => {
    expect(parseTotals(`(pass) a\n\n${CLOSING}`)).toEqual({ passed: 12, failed: 3, skipped: 3 });
  });

  test("reads through colours", () => {
    const coloured =
      "\x1b[32m 2 pass\x1b[0m\n\x1b[2m 0 fail\x1b[0m\nRan 2 tests across 1 file. [1ms]\n";
    expect(parseTotals(coloured)).toEqual({ passed: 2, failed: 0, skipped: 0 });
  });

  test("takes the last of several runs", () => {
    const inner = " 1 pass\n 0 fail\nRan 1 test across 1 file. [1ms]\n";
    expect(parseTotals(`${inner}\n${CLOSING}`)?.passed).toBe(12);
  });

  test("has nothing to say where the run did not reach its end", () => {
    expect(parseTotals("(pass) a\n 12 pass\n")).toBeUndefined();
    expect(parseTotals("")).toBeUndefined();
  });

  test("has nothing to say where the counts do not add up", () => {
    expect(parseTotals(" 12 pass\n 0 fail\nRan 13 tests across 1 file. [1ms]\n")).toBeUndefined();
  });
});

describe("findFault()", () => {
  test("finds none in a clean run", () => {
    expect(findFault({ passed: 3, failed: 0, skipped: 0 }, 0)).toBeUndefined();
  });

  test.each([
    [undefined, 0, "the log has no totals, the test run did not reach its end"],
    [{ passed: 3, failed: 1, skipped: 0 }, 1, "1 tests failed"],
    [{ passed: 3, failed: 0, skipped: 1 }, 0, "1 tests were skipped"],
    [{ passed: 0, failed: 0, skipped: 0 }, 0, "no test ran"],
    [{ passed: 3, failed: 0, skipped: 0 }, 1, "the test run ended with exit code 1"],
  ])("finds the fault in %j with exit code %i", (totals, exitCode, fault) => {
    expect(findFault(totals, exitCode)).toBe(fault);
  });
});

describe("failuresIn()", () => {
  test("says what a log tells of the tests that failed, and of no other", () => {
    const log = [
      "test/a.test.ts:",
      "(pass) one [1ms]",
      "error: expected 1",
      "(fail) two [2ms]",
      "(pass) three",
      "",
      "test/b.test.ts:",
      "error: expected 2",
      "(fail) four",
      "",
      "2 tests failed:",
      "(fail) two [2ms]",
      "(fail) four",
    ];
    expect(failuresIn(log.join("\n"))).toEqual([
      "error: expected 1\n(fail) two [2ms]",
      "error: expected 2\n(fail) four",
    ]);
  });

  test("finds none where all passed", () => {
    expect(failuresIn(`(pass) a\n${CLOSING}`)).toEqual([]);
  });
});
