/** For tests that look at the code and the byte offset of a ProtocolError. */

import { ProtocolError } from "../../../src/errors.ts";

/**
 * Calls `run`, which must throw a ProtocolError.
 * @returns that error
 */
export function caughtProtocolError(run: () => unknown): ProtocolError {
  try {
    run();
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
  throw new Error("Nothing was thrown, wanted a ProtocolError");
}
