/** What a program may choose for a call, and the check of it. */

import { ArgumentError } from "../errors.ts";
import { TIMEOUT_MS_MAX } from "./limits.ts";
import type { SendOptions } from "./outgoing-body.ts";

/** Choices for one call with an answer in parts. */
export interface StreamOptions extends SendOptions {
  /**
   * Milliseconds until the call is given up and the service told; default 30,000. Infinity: never.
   * In callStream(): until the next part, while the program waits for one.
   */
  readonly timeoutMs?: number;
  /** Aborting gives the call up, and the service is told. */
  readonly signal?: AbortSignal;
}

/** Choices for one call. */
export interface CallOptions extends StreamOptions {
  /**
   * The work may be done twice: where the connection is lost before the answer, the call is made
   * again on the next one, within its time-out. Its body and files are kept for that. Default false.
   */
  readonly idempotent?: boolean;
}

/**
 * Checks a time-out.
 * @returns milliseconds, or Infinity
 * @throws {ArgumentError} ARGUMENT_OPTION
 */
export function checkTimeout(timeoutMs: number | undefined, fallback: number): number {
  if (timeoutMs === undefined) return fallback;
  if (timeoutMs === Number.POSITIVE_INFINITY) return timeoutMs;
  if (timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX) return Math.ceil(timeoutMs);
  const message = `Cannot wait ${timeoutMs} ms: timeoutMs must be above 0 and at most ${TIMEOUT_MS_MAX}, or Infinity`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "timeoutMs");
}
