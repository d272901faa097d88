/**
 * Rules that a client has to be compared with: a few are tried one by one, many are in a tree of
 * patterns for each action and effect.
 */

import { patternCovers, patternsIntersect, topicMatches } from "../../protocol/topics.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { type PatternQuery, PatternTrie } from "./pattern-trie.ts";
import { ACTIONS, type Action, type Rule } from "./rules.ts";

/** Up to here rules are tried one by one. Guess: about as fast as the tree, and much smaller. */
const SCANNED_RULES_MAX = 16;

/** What a rule does: "would-deny" is to deny in a file that is permissive. */
export const RULE_KINDS = ["allow", "deny", "would-deny"] as const;

/** One of RULE_KINDS. */
export type RuleKind = (typeof RULE_KINDS)[number];

/** How the patterns of a rule are held against what is asked for. */
export type Relation = "matches" | "covers" | "intersects";

const RELATIONS: Readonly<Record<Relation, (pattern: string, asked: string) => boolean>> = {
  matches: topicMatches,
  covers: patternCovers,
  intersects: patternsIntersect,
};

const NO_ACTIONS: readonly Action[] = [];

/** Which rule is looked for. */
export interface RuleQuery {
  readonly kind: RuleKind;
  readonly action: Action;
  /** "matches" takes a topic name, the others a pattern too. */
  readonly relation: Relation;
  readonly asked: string;
  readonly identity: PeerIdentity;
}

/** A query on its way through the buckets. */
export interface RuleSearch extends RuleQuery, PatternQuery {
  readonly rules: readonly Rule[];
}

/** What a rule does of one kind. */
export function actionsOf(rule: Rule, kind: RuleKind): readonly Action[] {
  if (kind === "allow") return rule.allow;
  return (rule.mode === "permissive") === (kind === "would-deny") ? rule.deny : NO_ACTIONS;
}

/** Some rules of a policy, by their indexes. */
export class RuleBucket {
  readonly #entries: number[] = [];
  /** By slotOf(); undefined while the bucket is small. */
  #tries: (PatternTrie | undefined)[] | undefined;

  /**
   * Adds a rule.
   * @param entry its index, not smaller than that of any before
   */
  add(entry: number, rules: readonly Rule[]): void {
    this.#entries.push(entry);
    if (this.#tries !== undefined) {
      addToTries(this.#tries, entry, rules[entry] as Rule);
    } else if (this.#entries.length > SCANNED_RULES_MAX) {
      this.#tries = [];
      for (const each of this.#entries) addToTries(this.#tries, each, rules[each] as Rule);
    }
  }

  /**
   * Finds the first rule that the search accepts.
   * @param before only smaller indexes are of interest
   * @returns its index, or `before` where there is none
   */
  first(search: RuleSearch, before: number): number {
    if (this.#tries === undefined) return this.#scan(search, before);
    const trie = this.#tries[slotOf(search.kind, search.action)];
    if (trie === undefined) return before;
    return search.relation === "intersects"
      ? trie.firstIntersecting(search, before)
      : trie.firstCovering(search, before);
  }

  #scan(search: RuleSearch, before: number): number {
    const fits = RELATIONS[search.relation];
    for (const entry of this.#entries) {
      if (entry >= before) return before;
      const rule = search.rules[entry] as Rule;
      if (!actionsOf(rule, search.kind).includes(search.action)) continue;
      if (!rule.topics.some((pattern) => fits(pattern, search.asked))) continue;
      if (search.accepts(entry)) return entry;
    }
    return before;
  }
}

function addToTries(tries: (PatternTrie | undefined)[], entry: number, rule: Rule): void {
  for (const kind of RULE_KINDS) {
    for (const action of actionsOf(rule, kind)) {
      const slot = slotOf(kind, action);
      tries[slot] ??= new PatternTrie();
      for (const pattern of rule.topics) tries[slot].add(pattern, entry);
    }
  }
}

function slotOf(kind: RuleKind, action: Action): number {
  return RULE_KINDS.indexOf(kind) * ACTIONS.length + ACTIONS.indexOf(action);
}
