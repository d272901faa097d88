/** `seqbus demo`: all that seqbus is for, on a private bus, with real processes, every step checked. */

import { castParts } from "../demo/cast.ts";
import { Checks, FailedCheck } from "../demo/checks.ts";
import { Director } from "../demo/director.ts";
import { mayBecome } from "../demo/privileges.ts";
import { Stage } from "../demo/stage.ts";
import { EXIT } from "../exit-codes.ts";
import { interruptedExitCode, watchSignals } from "../interruption.ts";
import { stdout, styled, warn } from "../output.ts";

/** Milliseconds until the demo gives up; it takes one or two seconds. */
const DEMO_TIMEOUT_MS = 30_000;

/**
 * Runs the demo.
 * @returns the exit code: 0 where every check held, 1 where one did not, that of the signal after
 *   an interruption. In each case no process, socket or file is left
 */
export async function runDemo(): Promise<number> {
  const stop = watchSignals();
  const checks = new Checks();
  try {
    await play(checks, AbortSignal.any([stop, AbortSignal.timeout(DEMO_TIMEOUT_MS)]));
  } catch (error) {
    const interrupted = interruptedExitCode(stop);
    if (interrupted !== undefined) return interrupted;
    if (!(error instanceof FailedCheck)) throw error;
    warn(error.message);
    return EXIT.FAILED;
  }
  stdout.write(
    `\n${styled("green", "ok")}: ${checks.passed} checks passed, nothing is left behind\n`,
  );
  return EXIT.OK;
}

async function play(checks: Checks, signal: AbortSignal): Promise<void> {
  const ownUid = process.geteuid?.() ?? 0;
  const hasOwnUsers = mayBecome(Object.values(castParts(ownUid, true).uids));
  const stage = new Stage(signal, hasOwnUsers);
  try {
    await new Director(stage, castParts(ownUid, hasOwnUsers), checks).perform();
  } finally {
    await stage.clear();
  }
  checks.equal("whether the temporary directory is left", stage.exists, false);
}
