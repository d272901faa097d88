/**
 * For processes that use readPolicyPieces(): it starts their own main file again, and means the
 * command line. Here the command line takes over; it ends the process.
 */

import { POLICY_PIECES_COMMAND } from "../src/cli/policy-reload.ts";

/** To be awaited before anything else is done. */
export async function readPolicyIfAsked(): Promise<void> {
  if (process.argv[2] === POLICY_PIECES_COMMAND) await import("../src/cli/main.ts");
}
