/**
 * The exit codes of the seqbus command. Scripts depend on them: a number never changes its meaning.
 * `seqbus --help` prints this table.
 */

import { ArgumentError, ConfigError, OPERATING_ERRORS, SyscallError } from "../errors.ts";

/** Every exit code but those of signals. */
export const EXIT = {
  OK: 0,
  FAILED: 1,
  USAGE: 2,
  NO_BROKER: 3,
  REFUSED: 4,
  CONFIG: 5,
  BUG: 70,
} as const;

/** What each number means, for --help. */
export const EXIT_CODE_HELP = `
Exit codes:
  0    it worked
  1    it failed; stderr says why
  2    wrong usage: an unknown option, a malformed topic, data that is not what it should be
  3    no broker listens there
  4    refused: the policy does not allow it, or the broker serves another user alone
  5    the broker cannot start here, for its policy file, its directory, or a path in use;
       or it keeps its old policy
  70   a bug of seqbus
  129, 130, 143   ended by SIGHUP, by Ctrl-C (SIGINT), by SIGTERM`;

const USAGE_CODES: readonly string[] = [
  "ARGUMENT_TOPIC",
  "ARGUMENT_PATTERN",
  "ARGUMENT_DATA",
  "ARGUMENT_OPTION",
  "ARGUMENT_SOCKET_PATH",
  "REJECTED_TOPIC_NAME",
  "REJECTED_PATTERN",
];
const REFUSED_CODES: readonly string[] = [
  "REJECTED_BY_POLICY",
  "REJECTED_NOT_ADMINISTRATOR",
  "REJECTED_NOT_OWNER",
  "REJECTED_FD_KIND",
  "REJECTED_RETAIN",
  "REJECTED_OVERFLOW",
];
const NO_BROKER_CODES: readonly string[] = ["ENOENT", "ECONNREFUSED"];
const CONFIG_CODES: readonly string[] = [
  "CONFIG_POLICY",
  "CONFIG_SOCKET_DIRECTORY",
  "CONFIG_SOCKET_IN_USE",
];

/** Errors that are told in one line, because the person or the machine can do something about them. */
export type OperatingError = Error & { readonly code: string };

/** Wrong arguments and files are the person's here, and no mistakes of the program. */
const TOLD_ERRORS = [...OPERATING_ERRORS, ArgumentError, ConfigError];

/**
 * Tells errors of operation from bugs.
 * @returns true for the error classes of src/errors.ts and for what the system said to node:fs
 */
export function isOperatingError(error: unknown): error is OperatingError {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return TOLD_ERRORS.some((known) => error instanceof known) || "syscall" in error;
}

/** The exit code that an error ends the command with. */
export function exitCodeOf(error: unknown): number {
  if (!isOperatingError(error)) return EXIT.BUG;
  const { code } = error;
  if (USAGE_CODES.includes(code)) return EXIT.USAGE;
  if (REFUSED_CODES.includes(code)) return EXIT.REFUSED;
  if (CONFIG_CODES.includes(code)) return EXIT.CONFIG;
  return exitCodeOfConnect(code === "TIMEOUT_CONNECT" ? error.cause : error);
}

/** @param error what connect() met, or anything else */
function exitCodeOfConnect(error: unknown): number {
  if (!(error instanceof SyscallError) || error.syscall !== "connect") return EXIT.FAILED;
  // The socket of a broker without a policy is its user's alone.
  if (error.code === "EACCES") return EXIT.REFUSED;
  return NO_BROKER_CODES.includes(error.code) ? EXIT.NO_BROKER : EXIT.FAILED;
}
