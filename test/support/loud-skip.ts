/**
 * Tests that a machine may lack the means for. They are skipped so that everybody sees it, and
 * fail in CI, where nothing may be lacking. No test may use `test.skip` directly; test/tidy.test.ts
 * looks for that.
 */

import { test } from "bun:test";

const UNSET = ["", "0", "false"];

/**
 * Says on stderr that something is not tested here.
 * @param reason what is missing, as a sentence: "python3 is not installed"
 * @param environment where CI is looked up
 * @throws {Error} where the environment variable CI is set
 */
export function skipLoudly(reason: string, environment: NodeJS.ProcessEnv = process.env): void {
  if (!UNSET.includes(environment["CI"] ?? "")) throw new Error(`Not skipped under CI: ${reason}`);
  process.stderr.write(`SKIPPED: ${reason}\n`);
}

/**
 * test() where the machine can run it; otherwise a skipped test, or under CI a failing one.
 * @param missing true where the test cannot run
 * @param reason what is missing, as a sentence
 * @param timeoutMs of test(); left out: its default
 */
export function testUnless(
  missing: boolean,
  reason: string,
  name: string,
  body: Parameters<typeof test>[1],
  timeoutMs?: number,
): void {
  if (!missing) {
    test(name, body, timeoutMs);
    return;
  }
  try {
    skipLoudly(`${name}: ${reason}`);
    test.skip(name, body);
  } catch (error) {
    test(name, () => {
      throw error;
    });
  }
}
