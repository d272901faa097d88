/** Errors of node:fs as our own, for people: what could not be done, with which file, and why. */

import { constants } from "node:os";
import { SyscallError } from "../errors.ts";
import { isOperatingError } from "./exit-codes.ts";

/**
 * Puts an error into words.
 * @param cause what node:fs threw
 * @param action such as "open"
 * @param path as the user knows it
 * @returns a SyscallError; the cause itself where it is a bug
 */
export function fileError(cause: unknown, action: string, path: string): unknown {
  if (!isOperatingError(cause)) return cause;
  const { code } = cause;
  const fields = { code, errno: errnoOf(code), syscall: "open", path };
  return new SyscallError(`Cannot ${action} ${path}: ${code}`, fields, { cause });
}

function errnoOf(code: string): number {
  return (constants.errno as Readonly<Record<string, number>>)[code] ?? 0;
}
