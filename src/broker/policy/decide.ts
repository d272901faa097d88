/**
 * The verdict: may this client do that on this topic?
 *
 * Pure and order-free: a deny that applies always wins, then any allow, else the answer is no.
 * Called when a topic is opened or subscribed, never for a message. A denial that only permissive
 * files want is allowed and marked.
 */

import type { PeerIdentity } from "../identity/identity.ts";
import { buildPolicy } from "./policy-build.ts";
import type { Relation, RuleKind } from "./rule-bucket.ts";
import { ACTIONS, type Action, defaultMode, type Policy, type Rule } from "./rules.ts";

/** A verdict and who is answerable for it. */
export interface Decision {
  readonly allowed: boolean;
  /**
   * The id of the deciding rule, the first in file order. Undefined: no rule spoke, so denied; or
   * allowed because all files are permissive.
   */
  readonly rule: string | undefined;
  /**
   * There where permissive files alone keep this from being denied: to be delivered, told and
   * counted. Its rule is the one that would deny; undefined: no rule allows it.
   */
  readonly wouldDeny?: { readonly rule: string | undefined };
}

const DENIED_BY_DEFAULT: Decision = { allowed: false, rule: undefined };

/** The bus's own topics, which a plain `>` does not match. */
const RESERVED_TOPICS_PATTERN = "$bus.>";

/**
 * Decides about one topic.
 * @param topic a valid topic name, not a pattern
 * @returns denied by the first rule that denies in a file that is enforced; else allowed by the
 *   first that allows; else denied with no rule, or allowed with no rule where every file is
 *   permissive. A client with unmapped ids is always denied
 */
export function decide(
  policy: Policy,
  identity: PeerIdentity,
  action: Action,
  topic: string,
): Decision {
  return decisionOf(policy, findDeciding(policy, identity, action, topic));
}

/**
 * Decides whether a subscription may be made at all. A yes for a pattern promises nothing about
 * one topic: each topic that would be delivered must still pass decide(…, "subscribe", topic).
 * @param pattern a valid topic name or pattern
 * @returns as decide(), where a rule denies if it denies all of the pattern, and allows if it
 *   allows some of it. For a name, that is what decide() says
 */
export function decideSubscribe(policy: Policy, identity: PeerIdentity, pattern: string): Decision {
  return decisionOf(policy, findDeciding(policy, identity, "subscribe", pattern, "pattern"));
}

/** The rules that have a say in one verdict, each the first of its kind. */
export interface DecidingRules {
  readonly identity: PeerIdentity;
  readonly denying: Rule | undefined;
  readonly allowing: Rule | undefined;
  readonly wouldDeny: Rule | undefined;
}

/**
 * Finds the rules that a verdict hangs on.
 * @param asked a valid topic name, or with "pattern" a pattern to subscribe to
 */
export function findDeciding(
  policy: Policy,
  identity: PeerIdentity,
  action: Action,
  asked: string,
  asking: "topic" | "pattern" = "topic",
): DecidingRules {
  const find = (kind: RuleKind, relation: Relation) =>
    policy.index.first({ kind, action, relation, asked, identity });
  const whole = asking === "topic" ? "matches" : "covers";
  const some = asking === "topic" ? "matches" : "intersects";
  return {
    identity,
    denying: find("deny", whole),
    allowing: find("allow", some),
    wouldDeny: find("would-deny", whole),
  };
}

/** The verdict that follows from the rules. */
export function decisionOf(policy: Policy, rules: DecidingRules): Decision {
  const { identity, denying, allowing, wouldDeny } = rules;
  if (identity.unmapped === true) return DENIED_BY_DEFAULT;
  if (denying !== undefined) return { allowed: false, rule: denying.id };
  if (allowing === undefined && defaultMode(policy) === "enforce") return DENIED_BY_DEFAULT;
  const allowed = { allowed: true, rule: allowing?.id };
  if (allowing !== undefined && wouldDeny === undefined) return allowed;
  return { ...allowed, wouldDeny: { rule: wouldDeny?.id } };
}

/**
 * The policy of a broker that was given no policy file: one user may do everything.
 * @param uid the broker's own
 */
export function ownUidPolicy(uid: number): Policy {
  const rule: Rule = {
    id: "own-uid",
    path: "",
    line: 0,
    mode: "enforce",
    allow: [...ACTIONS],
    deny: [],
    topics: [">", RESERVED_TOPICS_PATTERN],
    any: false,
    users: [uid],
    userWords: [String(uid)],
  };
  return buildPolicy({
    path: "",
    files: [],
    rules: [rule],
    topicSettings: [],
    limits: { defaults: {}, overrides: [] },
  });
}
