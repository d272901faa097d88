/**
 * Signals that end a command: the first one asks it to end cleanly, the second ends it at once.
 */

import { constants } from "node:os";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A signal came. The reason of an interruption's AbortSignal. */
export interface Interruption {
  readonly signal: (typeof SIGNALS)[number];
  /** 128 + the signal's number, as shells have it. */
  readonly exitCode: number;
}

/**
 * Takes over signals for the rest of the process.
 * @param signals default: all that ask a process to end
 * @returns aborted by the first of them, with an Interruption as its reason
 */
export function watchSignals(signals: readonly (typeof SIGNALS)[number][] = SIGNALS): AbortSignal {
  const controller = new AbortController();
  for (const signal of signals) {
    const exitCode = 128 + constants.signals[signal];
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(exitCode);
      controller.abort({ signal, exitCode } satisfies Interruption);
    });
  }
  return controller.signal;
}

/** @returns the exit code of the signal that came, undefined where none did */
export function interruptedExitCode(signal: AbortSignal): number | undefined {
  return signal.aborted ? (signal.reason as Interruption).exitCode : undefined;
}

/** Waits for a promise, but not beyond an interruption. @returns false where that came first */
export async function settledBefore(signal: AbortSignal, work: Promise<unknown>): Promise<boolean> {
  if (signal.aborted) return false;
  const { promise, resolve } = Promise.withResolvers<false>();
  const onAbort = () => resolve(false);
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([work.then(() => true), promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
