/**
 * Reading the policy of a running broker anew. Parsing thousands of rules takes half a second, and
 * a user directory may take longer, so a process of its own does it and hands over pieces of text
 * that the broker takes in between two packets.
 */

import { serializePolicy } from "../broker/policy/policy-build.ts";
import { loadPolicySource } from "../broker/policy/policy-file.ts";
import { ConfigError } from "../errors.ts";
import { EXIT } from "./exit-codes.ts";
import { stdout } from "./output.ts";
import { OWN_COMMAND } from "./own-command.ts";
import { systemPolicyIo } from "./policy-source.ts";

/** The hidden command that printPolicyPieces() is. */
export const POLICY_PIECES_COMMAND = "policy-pieces";

/** Milliseconds that reading may take; then the old policy stays. */
const READ_TIMEOUT_MS = 60_000;

/**
 * Reads a policy in another process.
 * @param path as the broker was given it
 * @returns the pieces of serializePolicy()
 * @throws {ConfigError} CONFIG_POLICY with the words of loadPolicySource(), or where the process
 *   failed or took too long
 */
export async function readPolicyPieces(path: string): Promise<string[]> {
  const child = startReader(path);
  const [pieces, complaint, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (exitCode === EXIT.OK) return pieces.trimEnd().split("\n");
  const message = complaint.trim().replace(/^seqbus: /, "");
  throw new ConfigError("CONFIG_POLICY", message || `Cannot read ${path}: the reader failed`, {
    path,
  });
}

/** @throws {ConfigError} CONFIG_POLICY where the broker has no fd or process left */
function startReader(path: string): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  try {
    return Bun.spawn([...OWN_COMMAND, POLICY_PIECES_COMMAND, path], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: READ_TIMEOUT_MS,
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError("CONFIG_POLICY", `Cannot read ${path}: ${why}`, { path }, { cause });
  }
}

/** What that process does: one piece a line on standard output. */
export function printPolicyPieces(path: string): number {
  const pieces = serializePolicy(loadPolicySource(path, systemPolicyIo()));
  for (const piece of pieces) stdout.write(`${piece}\n`);
  return EXIT.OK;
}
