/**
 * The check that stands before every call with an fd. bun:ffi turns undefined, null and NaN into 0,
 * so an unchecked bug would close standard input, or send a client's data there.
 */

import { ArgumentError } from "../errors.ts";

/**
 * States that a value can be an fd: an integer 0..2^31-1. It does not ask the kernel whether the fd
 * is open. Costs no allocation, so it may stand in hot functions.
 * @param value anything
 * @param argument the name of the parameter, for the message
 * @throws {ArgumentError} ARGUMENT_FD for anything else
 */
export function assertFd(value: unknown, argument: string): asserts value is number {
  // `value | 0` is the int32 nearest to a number, and so differs from NaN, 1.5 and 2^31.
  if (typeof value !== "number" || (value | 0) !== value || value < 0) {
    throw fdError(value, argument);
  }
}

function fdError(value: unknown, argument: string): ArgumentError {
  const shown = typeof value === "number" ? String(value) : typeof value;
  return new ArgumentError(
    "ARGUMENT_FD",
    `Cannot use ${argument} as file descriptor: it is ${shown}, must be an integer 0..2147483647`,
    argument,
  );
}
