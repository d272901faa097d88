/**
 * What the policy says of topics whose subscribers read too slowly. "block" lets a subscriber hold
 * back others, so it takes a setting for all the topics that it asks for; the other policies cost
 * nobody but the one who asks.
 */

import { patternCovers, patternsIntersect } from "../../protocol/topics.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import type { Policy } from "../policy/rules.ts";

/** What holds for a topic where its subscribers ask for nothing. */
export const OVERFLOW_DEFAULT: OverflowPolicy = "drop-newest";

/** What the policy sets for a topic. */
export interface OverflowRule {
  /** Where subscribers ask for nothing. */
  readonly standard: OverflowPolicy;
  /** Whether subscribers may ask for "block". */
  readonly grantsBlock: boolean;
}

/** The broker without a policy has one user, who may hold back himself. */
const OWN_UID: OverflowRule = { standard: OVERFLOW_DEFAULT, grantsBlock: true };

/** What a policy says of one topic. */
export function overflowRuleOf(policy: Policy, topic: string): OverflowRule {
  if (policy.files.length === 0) return OWN_UID;
  const standard = policy.settings.find(topic, "overflow")?.overflow ?? OVERFLOW_DEFAULT;
  return { standard, grantsBlock: standard === "block" };
}

/** Whether "block" may be asked for, and by which setting not. */
export interface BlockGrant {
  readonly granted: boolean;
  /** The setting that speaks against it, as `path:line`; undefined where none speaks for it. */
  readonly rule: string | undefined;
}

/**
 * Whether a subscription may ask for "block": where a setting has it for all topics that match, and
 * no other setting has another word for some of them. One that is wider than the first does not
 * count, since the narrower one holds.
 * @param pattern a valid topic name or pattern
 */
export function blockGrantOf(policy: Policy, pattern: string): BlockGrant {
  if (policy.files.length === 0) return { granted: true, rule: undefined };
  const blocking = policy.topicSettings
    .filter(({ overflow }) => overflow === "block")
    .flatMap(({ topics }) => topics.filter((topic) => patternCovers(topic, pattern)));
  const objecting = policy.topicSettings.find(({ overflow, topics }) => {
    if (overflow === undefined || overflow === "block") return false;
    return topics.some(
      (other) =>
        patternsIntersect(other, pattern) &&
        !blocking.some((narrow) => patternCovers(other, narrow)),
    );
  });
  const rule = objecting === undefined ? undefined : `${objecting.path}:${objecting.line}`;
  return { granted: objecting === undefined && blocking.length > 0, rule };
}
