/**
 * A question to a policy, from what was typed: names become numbers, and what cannot be asked is
 * refused. What is not said of the client is taken as absent, not as unknown.
 */

import type { PeerIdentity } from "../broker/identity/identity.ts";
import { NO_GROUP } from "../broker/policy/condition-words.ts";
import { ACTIONS, type Action } from "../broker/policy/rules.ts";
import { ArgumentError } from "../errors.ts";
import { findGroup, findUser } from "../ffi/user-database.ts";
import { checkPattern, checkTopicName } from "../protocol/topics.ts";

/** Matches no path of a rule, since it does not begin with a slash. */
const NO_EXECUTABLE = "(not given)";

const ID_MAX = 4_294_967_294;

/** Who is asked about, as commander has it. */
export interface ClientOptions {
  readonly user: string;
  readonly group: readonly string[];
  readonly unit?: string;
  readonly exe?: string;
  readonly label?: string;
}

/** What explain() is asked. */
export interface PolicyQuestion {
  readonly identity: PeerIdentity;
  readonly action: Action;
  /** A valid topic name; for "subscribe" a valid pattern. */
  readonly topic: string;
}

/**
 * Makes a question.
 * @throws {ArgumentError} ARGUMENT_OPTION for an unknown action, user or group, ARGUMENT_TOPIC,
 *   ARGUMENT_PATTERN
 * @throws {SyscallError} where the user database cannot be asked
 */
export function parseQuestion(
  action: string,
  topic: string,
  options: ClientOptions,
): PolicyQuestion {
  const known = ACTIONS.find((name) => name === action);
  if (known === undefined) {
    throw unfit(`Unknown action "${action}", expected one of ${ACTIONS.join(", ")}`, "action");
  }
  checkTopic(known, topic);
  return { identity: parseClient(options), action: known, topic };
}

function checkTopic(action: Action, topic: string): void {
  const [check, code] =
    action === "subscribe"
      ? ([checkPattern, "ARGUMENT_PATTERN"] as const)
      : ([checkTopicName, "ARGUMENT_TOPIC"] as const);
  const flaw = check(topic);
  if (flaw === undefined) return;
  throw new ArgumentError(code, `Cannot ask about "${topic}": ${flaw}`, "topic");
}

function parseClient({ user, group, unit, exe, label }: ClientOptions): PeerIdentity {
  const entry = findUser(isNumber(user) ? Number(user) : user);
  if (entry === undefined && !isNumber(user)) throw unfit(`Unknown user "${user}"`, "user");
  const groups = group.map(parseGroup);
  return {
    uid: entry?.uid ?? parseNumber(user, "user"),
    gid: entry?.gid ?? groups[0] ?? NO_GROUP,
    pid: 0,
    groups,
    cgroup: "/",
    exe: exe ?? NO_EXECUTABLE,
    ...(unit !== undefined && { unit }),
    ...(label !== undefined && { label }),
  };
}

function parseGroup(text: string): number {
  if (isNumber(text)) return parseNumber(text, "group");
  const entry = findGroup(text);
  if (entry === undefined) throw unfit(`Unknown group "${text}"`, "group");
  return entry.gid;
}

function isNumber(text: string): boolean {
  return /^[0-9]+$/.test(text);
}

function parseNumber(text: string, option: string): number {
  const id = Number(text);
  if (id <= ID_MAX) return id;
  throw unfit(`Cannot use ${option} ${text}: it must be 0 to ${ID_MAX}`, option);
}

function unfit(message: string, option: string): ArgumentError {
  return new ArgumentError("ARGUMENT_OPTION", message, option);
}
