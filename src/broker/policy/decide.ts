/**
 * The verdict: may this client do that on this topic?
 *
 * Pure and order-free: a deny that applies always wins, then any allow, else the answer is no.
 * Called when a topic is opened or subscribed, never for a message. It scans all rules.
 */

import { patternCovers, patternsIntersect, topicMatches } from "../../protocol/topics.ts";
import type { PeerIdentity } from "../identity.ts";
import { ACTIONS, type Action, type Policy, type Rule } from "./rules.ts";

/** A verdict and who is answerable for it. */
export interface Decision {
  readonly allowed: boolean;
  /** The id of the deciding rule, the first in file order; undefined: no rule spoke, so denied. */
  readonly rule: string | undefined;
}

const DENIED_BY_DEFAULT: Decision = { allowed: false, rule: undefined };

/** The bus's own topics, which a plain `>` does not match. */
const RESERVED_TOPICS_PATTERN = "$bus.>";

/**
 * One way in which a rule says whom it is about.
 * @returns whether it holds; undefined where the rule does not use it
 */
type Condition = (rule: Rule, identity: PeerIdentity) => boolean | undefined;

/** By user, by group. All that a rule uses must hold. */
const CONDITIONS: readonly Condition[] = [
  (rule, identity) => rule.users?.includes(identity.uid),
  (rule, identity) => rule.groups?.some((gid) => isMember(identity, gid)),
];

/**
 * Decides about one topic.
 * @param topic a valid topic name, not a pattern
 * @returns denied by the first rule that denies; else allowed by the first that allows; else
 *   denied with no rule
 */
export function decide(
  policy: Policy,
  identity: PeerIdentity,
  action: Action,
  topic: string,
): Decision {
  const matches = (pattern: string) => topicMatches(pattern, topic);
  return verdict(policy, identity, action, { deny: matches, allow: matches });
}

/**
 * Decides whether a subscription may be made at all. A yes for a pattern promises nothing about
 * one topic: each topic that would be delivered must still pass decide(…, "subscribe", topic).
 * @param pattern a valid topic name or pattern
 * @returns denied by the first rule that denies all of it; else allowed by the first rule that
 *   allows some of it; else denied with no rule. For a name, that is what decide() says
 */
export function decideSubscribe(policy: Policy, identity: PeerIdentity, pattern: string): Decision {
  return verdict(policy, identity, "subscribe", {
    deny: (outer) => patternCovers(outer, pattern),
    allow: (other) => patternsIntersect(other, pattern),
  });
}

/**
 * The policy of a broker that was given no policy file: one user may do everything.
 * @param uid the broker's own
 */
export function ownUidPolicy(uid: number): Policy {
  const rule: Rule = {
    id: "own-uid",
    line: 0,
    allow: new Set(ACTIONS),
    deny: new Set(),
    topics: [">", RESERVED_TOPICS_PATTERN],
    users: [uid],
    groups: undefined,
    any: false,
    who: `user ${uid}`,
  };
  return { rules: [rule], path: "" };
}

/** How the patterns of a rule are held against what is asked for. */
interface Matchers {
  readonly deny: (pattern: string) => boolean;
  readonly allow: (pattern: string) => boolean;
}

function verdict(
  policy: Policy,
  identity: PeerIdentity,
  action: Action,
  matchers: Matchers,
): Decision {
  let allowing: Rule | undefined;
  for (const rule of policy.rules) {
    const denies = rule.deny.has(action);
    if (!denies && (allowing !== undefined || !rule.allow.has(action))) continue;
    if (!isAbout(rule, identity)) continue;
    if (denies && rule.topics.some(matchers.deny)) return { allowed: false, rule: rule.id };
    if (!denies && rule.topics.some(matchers.allow)) allowing = rule;
  }
  return allowing === undefined ? DENIED_BY_DEFAULT : { allowed: true, rule: allowing.id };
}

/** A rule that names nobody is about nobody: being about everybody takes `any`. */
function isAbout(rule: Rule, identity: PeerIdentity): boolean {
  if (rule.any) return true;
  let named = false;
  for (const condition of CONDITIONS) {
    const holds = condition(rule, identity);
    if (holds === false) return false;
    if (holds === true) named = true;
  }
  return named;
}

function isMember(identity: PeerIdentity, gid: number): boolean {
  return identity.gid === gid || identity.groups.includes(gid);
}
