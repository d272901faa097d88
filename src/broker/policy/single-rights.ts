/**
 * A policy as single rights: one kind of client, one action, one pattern. For comparing policies;
 * nothing is decided with it.
 */

import { patternCovers } from "../../protocol/topics.ts";
import { actionsOf, RULE_KINDS, type RuleKind } from "./rule-bucket.ts";
import { type Action, type IdRange, type PolicySource, type Rule, rangeInWords } from "./rules.ts";
import { hasWildcard, pathWildcardMatches, wildcardMatches } from "./wildcard-text.ts";

/** Whom a right is about: a rule's `who` with one of each list. Without keys: anybody. */
export interface Subject {
  readonly user?: number;
  readonly uid?: IdRange;
  readonly group?: number;
  readonly unit?: string;
  readonly exe?: string;
  readonly label?: string;
}

/** One thing that a rule allows or denies. */
export interface Right {
  readonly kind: RuleKind;
  readonly action: Action;
  readonly pattern: string;
  readonly subject: Subject;
  /** The subject for people. */
  readonly who: string;
  readonly rule: Rule;
}

/** A part of a subject, and how it is said. */
interface Part {
  readonly subject: Subject;
  readonly words: string;
}

/** Takes a policy apart. Rules that name several of everything come to the product of these. */
export function rightsOf({ rules }: Pick<PolicySource, "rules">): Right[] {
  const rights: Right[] = [];
  for (const rule of rules) {
    const parts = partsOf(rule);
    for (const kind of RULE_KINDS) {
      for (const action of actionsOf(rule, kind)) {
        for (const pattern of rule.topics) {
          for (const { subject, words } of parts) {
            const who = words === "" ? "anybody" : words;
            rights.push({ kind, action, pattern, subject, who, rule });
          }
        }
      }
    }
  }
  return rights;
}

/** A text that two rights share if they are about the same, whatever their rules are called. */
export function keyOf({ kind, action, pattern, subject }: Right): string {
  const { user, uid, group, unit, exe, label } = subject;
  const first = uid?.first ?? user;
  const last = uid?.last ?? user;
  const isBoth = uid !== undefined && user !== undefined;
  return JSON.stringify([
    kind,
    action,
    pattern,
    isBoth ? user : null,
    first,
    last,
    group,
    unit,
    exe,
    label,
  ]);
}

/** Whether one right holds wherever the other does. May say no where that is hard to see. */
export function rightCovers(outer: Right, inner: Right): boolean {
  return (
    outer.kind === inner.kind &&
    outer.action === inner.action &&
    subjectCovers(outer.subject, inner.subject) &&
    patternCovers(outer.pattern, inner.pattern)
  );
}

function subjectCovers(outer: Subject, inner: Subject): boolean {
  return (
    idCovers(outer.user, inner) &&
    idCovers(outer.uid, inner) &&
    (outer.group === undefined || outer.group === inner.group) &&
    textCovers(outer.unit, inner.unit, pathWildcardMatches) &&
    textCovers(outer.exe, inner.exe, pathWildcardMatches) &&
    textCovers(outer.label, inner.label, wildcardMatches)
  );
}

function idCovers(outer: number | IdRange | undefined, { user, uid }: Subject): boolean {
  if (outer === undefined) return true;
  const { first, last } = typeof outer === "number" ? { first: outer, last: outer } : outer;
  const isUserIn = user !== undefined && user >= first && user <= last;
  return isUserIn || (uid !== undefined && uid.first >= first && uid.last <= last);
}

function textCovers(
  outer: string | undefined,
  inner: string | undefined,
  matches: (pattern: string, text: string) => boolean,
): boolean {
  if (outer === undefined || outer === inner) return true;
  return inner !== undefined && !hasWildcard(inner) && matches(outer, inner);
}

function partsOf(rule: Rule): readonly Part[] {
  const { users, userWords, groups, groupWords, uids, units, exes, labels } = rule;
  const lists: (readonly Part[] | undefined)[] = [
    users?.map((user, at) => ({ subject: { user }, words: `user ${userWords?.[at] ?? user}` })),
    uids?.map((uid) => ({ subject: { uid }, words: `uid ${rangeInWords(uid)}` })),
    groups?.map((group, at) => ({
      subject: { group },
      words: `group ${groupWords?.[at] ?? group}`,
    })),
    units?.map((unit) => ({ subject: { unit }, words: `unit ${unit}` })),
    exes?.map((exe) => ({ subject: { exe }, words: `exe ${exe}` })),
    labels?.map((label) => ({ subject: { label }, words: `label ${label}` })),
  ];
  let parts: readonly Part[] = [{ subject: {}, words: "" }];
  for (const list of lists) {
    if (list !== undefined) parts = parts.flatMap((part) => list.map((next) => join(part, next)));
  }
  return parts;
}

function join(part: Part, next: Part): Part {
  const words = part.words === "" ? next.words : `${part.words} and ${next.words}`;
  return { subject: { ...part.subject, ...next.subject }, words };
}
