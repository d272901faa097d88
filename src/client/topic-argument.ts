/**
 * Topic names and patterns as programs pass them: checked before anything is sent. For arguments of
 * this program alone: a message names them, which is no use for what a stranger sent. Pure.
 */

import { ArgumentError } from "../errors.ts";
import { checkPattern, checkTopicName } from "../protocol/topics.ts";

/** Characters of a malformed name that a message shows: enough to find it again. */
const SHOWN_LENGTH_MAX = 80;

/**
 * @param cannot what the name was for, as a message begins: "Cannot publish on"
 * @param argument the parameter, as the caller knows it
 * @throws {ArgumentError} ARGUMENT_TOPIC where it is malformed
 */
export function checkTopicArgument(name: string, cannot: string, argument = "topic"): void {
  const flaw = typeof name === "string" ? checkTopicName(name) : "it is not a string";
  if (flaw === undefined) return;
  throw new ArgumentError("ARGUMENT_TOPIC", `${cannot} ${shown(name)}: ${flaw}`, argument);
}

/** @throws {ArgumentError} ARGUMENT_PATTERN where it is malformed */
export function checkPatternArgument(pattern: string): void {
  const flaw = typeof pattern === "string" ? checkPattern(pattern) : "it is not a string";
  if (flaw === undefined) return;
  const message = `Cannot subscribe to ${shown(pattern)}: ${flaw}`;
  throw new ArgumentError("ARGUMENT_PATTERN", message, "pattern");
}

/** @param name of any type: who does not use TypeScript may pass anything */
function shown(name: unknown): string {
  if (typeof name !== "string") return name === null ? "null" : typeof name;
  if (name.length <= SHOWN_LENGTH_MAX) return JSON.stringify(name);
  return `${JSON.stringify(name.slice(0, SHOWN_LENGTH_MAX))}…`;
}
