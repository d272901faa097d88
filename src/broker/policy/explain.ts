/**
 * Why a verdict is what it is: the rule that decided, and where the answer is no, the rule that
 * came nearest to a yes and what it lacked.
 *
 * For people who ask, one question at a time: it may look at every rule, which takes milliseconds
 * for 10,000. The verdict itself comes from the same rules as decide()'s, so that the two cannot
 * disagree.
 */

import { patternsIntersect, splitTokens, topicMatches } from "../../protocol/topics.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { clientWords, listInWords, ruleWords } from "./condition-words.ts";
import { CONDITIONS, type Condition, UNKNOWN } from "./conditions.ts";
import { type DecidingRules, decisionOf, findDeciding } from "./decide.ts";
import { inWords, type RuleReference, referTo } from "./rule-reference.ts";
import {
  ACTION_WORDS,
  type Action,
  defaultMode,
  type Mode,
  type Policy,
  type Rule,
} from "./rules.ts";

/** One thing that keeps a rule from allowing what was asked. */
export interface FailedCondition {
  readonly key: "action" | "topic" | Condition["key"];
  /** What the question has, and what the rule wants. */
  readonly words: string;
}

/** The answer to "why?". Plain data, to be sent as JSON. */
export interface Explanation {
  readonly verdict: "allowed" | "denied";
  readonly action: Action;
  readonly topic: string;
  readonly uid: number;
  /** Of the file that decided; of the whole policy where no rule did. */
  readonly mode: Mode;
  /** Absent where no rule decided. */
  readonly decidedBy?: RuleReference;
  /** In words. */
  readonly reason: string;
  /** There where permissive files alone keep this from being denied. */
  readonly wouldDeny?: { readonly rule?: RuleReference; readonly reason: string };
  /** There where it is denied, or allowed by no rule: the rule that comes nearest to allowing it. */
  readonly nearest?: {
    readonly rule: RuleReference;
    /** Empty where the rule does allow it, and is overruled. */
    readonly failed: readonly FailedCondition[];
  };
}

/** How far a rule is from allowing something. Guess: what people mistake most often is nearest. */
const COST = { who: 1, topicOfSameStart: 2, action: 3, topic: 4 };

/** How much an explanation tells. */
export interface ExplainOptions {
  /**
   * Whether to look for the rule that comes nearest to allowing it. That tries every rule (some
   * milliseconds for 10,000) and shows whom another rule is about; default true.
   */
  readonly nearest?: boolean;
}

/**
 * Explains one verdict.
 * @param topic a valid topic name, or a valid pattern where the action is "subscribe"
 */
export function explain(
  policy: Policy,
  identity: PeerIdentity,
  action: Action,
  topic: string,
  options: ExplainOptions = {},
): Explanation {
  const asking = action === "subscribe" ? "pattern" : "topic";
  const rules = findDeciding(policy, identity, action, topic, asking);
  const decision = decisionOf(policy, rules);
  const decider = identity.unmapped ? undefined : (rules.denying ?? rules.allowing);
  const question = { identity, action, topic };
  const isRefused = !decision.allowed || rules.allowing === undefined;
  const nearest =
    isRefused && identity.unmapped !== true && options.nearest !== false
      ? findNearest(policy, question, rules.allowing)
      : undefined;
  return {
    verdict: decision.allowed ? "allowed" : "denied",
    action,
    topic,
    uid: identity.uid,
    mode: decider === undefined ? defaultMode(policy) : decider.mode,
    ...(decider && { decidedBy: referTo(decider) }),
    reason: reasonOf(policy, rules, question),
    ...(decision.wouldDeny && { wouldDeny: wouldDenyOf(rules.wouldDeny, question) }),
    ...(nearest && { nearest }),
  };
}

/** An explanation as lines for a person. */
export function explanationLines(explanation: Explanation): string[] {
  const { verdict, uid, action, topic, reason, wouldDeny, nearest } = explanation;
  const may = verdict === "allowed" ? "may" : "may not";
  const lines = [
    `${verdict}: uid ${uid} ${may} ${ACTION_WORDS[action]} "${topic}"`,
    `because: ${reason}`,
  ];
  if (wouldDeny !== undefined) lines.push(`would be denied: ${wouldDeny.reason}`);
  if (nearest === undefined) return lines;
  const rule = inWords(nearest.rule);
  if (nearest.failed.length === 0) {
    lines.push(`nearest: ${rule} allows it, but a rule that denies wins`);
    return lines;
  }
  lines.push(`nearest: ${rule} would allow it, but`);
  for (const { key, words } of nearest.failed) lines.push(`  ${key}: ${words}`);
  return lines;
}

/** What was asked. */
interface Question {
  readonly identity: PeerIdentity;
  readonly action: Action;
  readonly topic: string;
}

function reasonOf(policy: Policy, rules: DecidingRules, question: Question): string {
  const { denying, allowing, identity } = rules;
  if (identity.unmapped === true) {
    return "its ids stand for every user of other namespaces, and no rule is about those";
  }
  if (denying !== undefined) return denialReason(denying, question);
  if (allowing !== undefined) {
    const what = isPattern(question.topic) ? "some of it" : "it";
    return `${inWords(referTo(allowing))} allows ${what}`;
  }
  if (defaultMode(policy) === "enforce") return "no rule allows it";
  return "no rule allows it, but every file of the policy is permissive";
}

function wouldDenyOf(
  rule: Rule | undefined,
  question: Question,
): { readonly rule?: RuleReference; readonly reason: string } {
  if (rule === undefined) return { reason: "no rule allows it" };
  const reason = `${denialReason(rule, question)}, and its file is permissive`;
  return { rule: referTo(rule), reason };
}

function denialReason(rule: Rule, { identity, topic }: Question): string {
  const what = isPattern(topic) ? "all of it" : "it";
  const unknown = CONDITIONS.filter(({ holds }) => holds(rule, identity) === UNKNOWN);
  const keys = unknown.map(({ key }) => key).join(" and ");
  const note = keys === "" ? "" : ` (the ${keys} of the client is unknown, and a deny then holds)`;
  return `${inWords(referTo(rule))} denies ${what}${note}`;
}

/**
 * @param allowing the rule that allows it and is overruled, where there is one
 * @returns undefined where no rule allows the action anywhere, or anything on the topic
 */
function findNearest(
  policy: Policy,
  question: Question,
  allowing: Rule | undefined,
): Explanation["nearest"] {
  let nearest = allowing;
  let leastCost = allowing === undefined ? Number.POSITIVE_INFINITY : 0;
  for (const rule of policy.rules) {
    // No rule allows it all, so none is nearer than this.
    if (leastCost <= COST.who) break;
    if (rule.allow.length === 0) continue;
    const cost = distance(rule, question);
    if (cost >= leastCost) continue;
    nearest = rule;
    leastCost = cost;
  }
  return nearest && { rule: referTo(nearest), failed: failedConditions(nearest, question) };
}

function distance(rule: Rule, { identity, action, topic }: Question): number {
  let cost = 0;
  const isTopicRight = fitsTopic(rule, topic);
  const isActionRight = rule.allow.includes(action);
  if (!isTopicRight && !isActionRight) return Number.POSITIVE_INFINITY;
  if (!isActionRight) cost += COST.action;
  if (!isTopicRight) cost += startsAlike(rule, topic) ? COST.topicOfSameStart : COST.topic;
  for (const { holds } of CONDITIONS) {
    const result = holds(rule, identity);
    if (result === false || result === UNKNOWN) cost += COST.who;
  }
  return cost;
}

function failedConditions(rule: Rule, question: Question): FailedCondition[] {
  const { identity, action, topic } = question;
  const failed: FailedCondition[] = [];
  if (!rule.allow.includes(action)) {
    failed.push({ key: "action", words: `is ${action}, the rule allows ${rule.allow.join(", ")}` });
  }
  if (!fitsTopic(rule, topic)) {
    failed.push({
      key: "topic",
      words: `is ${topic}, the rule has ${listInWords(rule.topics, ", ")}`,
    });
  }
  for (const { key, holds } of CONDITIONS) {
    const result = holds(rule, identity);
    if (result === undefined || result === true) continue;
    failed.push({
      key,
      words: `is ${clientWords(identity, key)}, the rule has ${ruleWords(rule, key)}`,
    });
  }
  return failed;
}

function fitsTopic(rule: Rule, topic: string): boolean {
  const fits = isPattern(topic) ? patternsIntersect : topicMatches;
  return rule.topics.some((pattern) => fits(pattern, topic));
}

function startsAlike(rule: Rule, topic: string): boolean {
  const [start] = splitTokens(topic);
  return rule.topics.some((pattern) => splitTokens(pattern)[0] === start);
}

function isPattern(topic: string): boolean {
  return topic.includes("*") || topic.includes(">");
}
