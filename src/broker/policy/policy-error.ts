/**
 * How a policy that cannot be used is reported: always as ConfigError CONFIG_POLICY, with a
 * message that starts like a compiler's, so editors and people find the place.
 */

import { ConfigError } from "../../errors.ts";

/** A place in a text file. */
export interface Position {
  /** 1-based. */
  readonly line: number;
  /** 1-based, in UTF-16 units as editors count. */
  readonly column: number;
}

/** Where things are reported that have no better place. */
export const FILE_START: Position = { line: 1, column: 1 };

/**
 * Makes the error for one place in a policy file.
 * @param path as the administrator named the file
 * @param message starts upper-case, names what was found and what was expected
 */
export function policyErrorAt(
  path: string,
  position: Position,
  message: string,
  options?: ErrorOptions,
): ConfigError {
  const { line, column } = position;
  const text = `${path}:${line}:${column}: ${message}`;
  return new ConfigError("CONFIG_POLICY", text, { path, line, column }, options);
}

/**
 * Makes the error for a file as a whole: unreadable, or not to be trusted.
 * @param path as the administrator named the file
 */
export function policyFileError(
  path: string,
  message: string,
  options?: ErrorOptions,
): ConfigError {
  return new ConfigError("CONFIG_POLICY", `${path}: ${message}`, { path }, options);
}
