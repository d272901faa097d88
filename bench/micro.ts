/**
 * How micro benchmarks run: by mitata; or with `--once`, where each is called once and nothing is
 * timed, so that a test can tell whether they still work.
 */

import { run, bench as timed } from "mitata";

/** Whether figures do not matter. */
export const IS_ONCE = process.argv.includes("--once");

/** One benchmark. */
export function bench(name: string, body: () => unknown): void {
  if (!IS_ONCE) timed(name, body);
  else callOnce(name, body);
}

function callOnce(name: string, body: () => unknown): void {
  body();
  console.log(`once: ${name}`);
}

/** Runs what has been named so far. Rejects where one of them throws. */
export async function runBenches(): Promise<void> {
  if (!IS_ONCE) await run({ throw: true });
}
