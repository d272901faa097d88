/**
 * Whom a rule is about, and what a client is, in words. For people, never to be compared.
 *
 * All words are short, however long the list behind them is: they travel in one packet.
 */

import type { PeerIdentity } from "../identity/identity.ts";
import { type Condition, isUnitUnknown } from "./conditions.ts";
import { type Rule, rangeInWords } from "./rules.ts";

type Key = Condition["key"];

/** (gid_t) -1: stands for no group in questions about users whose groups are not known. */
export const NO_GROUP = 0xffff_ffff;

/** A client can be in 65536 groups and a rule name as many; nobody wants to read them all. */
const ITEMS_TOLD_MAX = 20;

/** Characters, about; a single item may have 4096. */
const TOLD_LENGTH_MAX = 400;

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

const RULE_WORDS: { readonly [K in Key]: (rule: Rule) => readonly string[] | undefined } = {
  user: ({ userWords }) => userWords,
  uid: ({ uids }) => uids?.map(rangeInWords),
  group: ({ groupWords }) => groupWords,
  unit: ({ units }) => units,
  exe: ({ exes }) => exes,
  label: ({ labels }) => labels,
};

/** What a client has where a rule has a key. */
export function clientWords(identity: PeerIdentity, key: Key): string {
  return listInWords([CLIENT_WORDS[key](identity)], "");
}

/** What a rule has under a key; empty where it does not have it. */
export function ruleWords(rule: Rule, key: Key): string {
  return listInWords(RULE_WORDS[key](rule) ?? [], " or ");
}

/** Joins the items of a list, the first of them if they are many. */
export function listInWords(items: readonly string[], joint: string): string {
  let words = "";
  let told = 0;
  for (const item of items) {
    if (told === ITEMS_TOLD_MAX || words.length > TOLD_LENGTH_MAX) break;
    const cut = item.length > TOLD_LENGTH_MAX ? `${item.slice(0, TOLD_LENGTH_MAX)}…` : item;
    words += told === 0 ? cut : joint + cut;
    told += 1;
  }
  return told === items.length ? words : `${words} and ${items.length - told} more`;
}

function groupsOf({ gid, groups }: PeerIdentity): string {
  const all = [...new Set([gid, ...groups])].filter((id) => id !== NO_GROUP);
  return all.length === 0 ? NONE_WORD : listInWords(all.map(String), ", ");
}
