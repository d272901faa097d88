/**
 * Whom a rule is about: one condition for each key of a rule that says so.
 *
 * Unit and executable can be *unknown*: the process ended too early, or the kernel cannot pin it
 * down. A client can bring that about, so it must gain nothing by it: an allow needs to know, and
 * a deny holds unless it is known not to.
 */

import type { PeerIdentity } from "../identity/identity.ts";
import { isInRanges, type Rule } from "./rules.ts";
import { pathWildcardMatches, wildcardMatches } from "./wildcard-text.ts";

/** Whether a condition holds; UNKNOWN where the kernel did not say. */
export type Holds = true | false | typeof UNKNOWN;

/** Neither true nor false. */
export const UNKNOWN = "unknown";

/** What a rule does for a client it is about. */
export type Effect = "allow" | "deny";

/** One key of a rule that says whom it is about. */
export interface Condition {
  /** As in the policy file. */
  readonly key: "user" | "uid" | "group" | "unit" | "exe" | "label";
  /** @returns undefined where the rule does not have the key */
  holds(rule: Rule, identity: PeerIdentity): Holds | undefined;
}

/** All conditions. Those that a rule has must all hold. */
export const CONDITIONS: readonly Condition[] = [
  { key: "user", holds: (rule, { uid }) => rule.users?.includes(uid) },
  { key: "uid", holds: (rule, { uid }) => rule.uids && isInRanges(rule.uids, uid) },
  { key: "group", holds: (rule, identity) => rule.groups?.some((gid) => isMember(identity, gid)) },
  { key: "unit", holds: unitHolds },
  { key: "exe", holds: exeHolds },
  { key: "label", holds: labelHolds },
];

/**
 * Whether a rule is about a client. A rule that names nobody is about nobody: being about
 * everybody takes `any`. Clients with unmapped ids are decisionOf()'s business, not a rule's.
 */
export function isAbout(rule: Rule, identity: PeerIdentity, effect: Effect): boolean {
  if (rule.any) return true;
  let isNamed = false;
  for (const condition of CONDITIONS) {
    const holds = condition.holds(rule, identity);
    if (holds === undefined) continue;
    if (holds === false || (holds === UNKNOWN && effect === "allow")) return false;
    isNamed = true;
  }
  return isNamed;
}

/** Whether the unit of a client could not be found out; being in no unit is something else. */
export function isUnitUnknown({ unit, cgroup }: PeerIdentity): boolean {
  return unit === undefined && cgroup === undefined;
}

function isMember(identity: PeerIdentity, gid: number): boolean {
  return identity.gid === gid || identity.groups.includes(gid);
}

/** A slash divides a user's unit from the manager it runs under; see CgroupPlace.unit. */
function unitHolds(rule: Rule, identity: PeerIdentity): Holds | undefined {
  if (rule.units === undefined) return undefined;
  const { unit } = identity;
  if (unit === undefined) return isUnitUnknown(identity) ? UNKNOWN : false;
  return rule.units.some((pattern) => pathWildcardMatches(pattern, unit));
}

function exeHolds(rule: Rule, { exe }: PeerIdentity): Holds | undefined {
  if (rule.exes === undefined) return undefined;
  if (exe === undefined) return UNKNOWN;
  return rule.exes.some((pattern) => pathWildcardMatches(pattern, exe));
}

/** The kernel hands labels out with the socket itself, so that a label that is absent is none. */
function labelHolds(rule: Rule, { label }: PeerIdentity): Holds | undefined {
  if (rule.labels === undefined) return undefined;
  if (label === undefined) return false;
  return rule.labels.some((pattern) => wildcardMatches(pattern, label));
}
