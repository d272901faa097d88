/** A rule as a person finds it again. For messages and JSON, never to be compared. */

import type { Rule } from "./rules.ts";

/** What a rule is called, and where it stands. */
export interface RuleReference {
  readonly id: string;
  /** `path:line`; empty for the rule of a broker without a policy. */
  readonly place: string;
}

/** Refers to a rule. */
export function referTo({ id, path, line }: Rule): RuleReference {
  return { id, place: path === "" ? "" : `${path}:${line}` };
}

/** A rule without an id is called by its place, which need not be said twice. */
export function inWords({ id, place }: RuleReference): string {
  return place === "" || place === id ? `rule "${id}"` : `rule "${id}" (${place})`;
}
