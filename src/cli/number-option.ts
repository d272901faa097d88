/** Options that are numbers. */

import { ArgumentError } from "../errors.ts";

/**
 * A whole number of 1 or more.
 * @param text undefined where the option is absent
 * @param option its name with dashes, for the error
 * @throws {ArgumentError} ARGUMENT_OPTION
 */
export function parsePositive(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(number) && number > 0) return number;
  const message = `Cannot take "${text}": ${option} must be a whole number of 1 or more`;
  throw new ArgumentError("ARGUMENT_OPTION", message, option.slice(2));
}
