/** Whom a rule is about, and what a client is, in words. For people, never to be compared. */

import type { PeerIdentity } from "../identity.ts";
import { CONDITIONS, type Condition, isUnitUnknown } from "./conditions.ts";
import { type Rule, rangeInWords } from "./rules.ts";

type Key = Condition["key"];

/** A client can be in 65536 groups; nobody wants to read them all. */
const GROUPS_TOLD_MAX = 20;

/** Stands for no group in questions about users whose groups are not known. */
export const NO_GROUP = -1;

const UNKNOWN_WORD = "unknown";
const NONE_WORD = "none";

const CLIENT_WORDS: { readonly [K in Key]: (identity: PeerIdentity) => string } = {
  user: ({ uid }) => String(uid),
  uid: ({ uid }) => String(uid),
  group: groupsOf,
  unit: (identity) => identity.unit ?? (isUnitUnknown(identity) ? UNKNOWN_WORD : NONE_WORD),
  exe: ({ exe }) => exe ?? UNKNOWN_WORD,
  label: ({ label }) => label ?? NONE_WORD,
};

const RULE_WORDS: { readonly [K in Key]: (rule: Rule) => string | undefined } = {
  user: ({ userWords }) => userWords?.join(" or "),
  uid: ({ uids }) => uids?.map(rangeInWords).join(" or "),
  group: ({ groupWords }) => groupWords?.join(" or "),
  unit: ({ units }) => units?.join(" or "),
  exe: ({ exes }) => exes?.join(" or "),
  label: ({ labels }) => labels?.join(" or "),
};

/** What a client has where a rule has a key. */
export function clientWords(identity: PeerIdentity, key: Key): string {
  return CLIENT_WORDS[key](identity);
}

/** What a rule has under a key; empty where it does not have it. */
export function ruleWords(rule: Rule, key: Key): string {
  return RULE_WORDS[key](rule) ?? "";
}

/** Whom a rule is about: `user "sensord" (990) and group 44`, or `anybody`. */
export function whoInWords(rule: Rule): string {
  const parts: string[] = [];
  for (const { key } of CONDITIONS) {
    const words = RULE_WORDS[key](rule);
    if (words !== undefined) parts.push(`${key} ${words}`);
  }
  return parts.length === 0 ? "anybody" : parts.join(" and ");
}

function groupsOf({ gid, groups }: PeerIdentity): string {
  const all = [...new Set([gid, ...groups])].filter((id) => id !== NO_GROUP);
  if (all.length === 0) return NONE_WORD;
  const told = all.slice(0, GROUPS_TOLD_MAX).join(", ");
  return all.length > GROUPS_TOLD_MAX ? `${told} and ${all.length - GROUPS_TOLD_MAX} more` : told;
}
