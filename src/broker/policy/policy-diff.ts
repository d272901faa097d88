/**
 * What one policy grants and denies that another does not, by meaning and not by text: rules may
 * move, change their names or be put together without a difference.
 *
 * Compares rights one by one and not verdicts: a grant that is new is listed though a deny may
 * overrule it.
 */

import type { RuleKind } from "./rule-bucket.ts";
import { inWords, type RuleReference, referTo } from "./rule-reference.ts";
import {
  ACTION_WORDS,
  type Action,
  defaultMode,
  type LimitValues,
  type Mode,
  type PolicySource,
  rangeInWords,
} from "./rules.ts";
import { keyOf, type Right, rightCovers, rightsOf } from "./single-rights.ts";

/** A right that only one of the policies has. */
export interface RightChange {
  /** "gains" and "loses" say what it is for the client; a would-be denial is neither. */
  readonly effect: "gains" | "loses" | "told";
  readonly change: "added" | "removed";
  readonly kind: RuleKind;
  /** Whom it is about, for people. */
  readonly who: string;
  readonly actions: readonly Action[];
  readonly pattern: string;
  readonly rule: RuleReference;
}

/** A setting or limit that differs, as JSON; absent where that policy does not have it. */
export interface SettingChange {
  /** `topics sensors.>`, `limits`, `limits of uid 1000`. */
  readonly what: string;
  readonly before?: string;
  readonly after?: string;
}

/** All differences. Plain data. */
export interface PolicyDiff {
  readonly rights: readonly RightChange[];
  /** There where what no rule allows is treated otherwise. */
  readonly defaultMode?: { readonly before: Mode; readonly after: Mode };
  readonly settings: readonly SettingChange[];
}

/** Compares two policies. */
export function diffPolicies(before: PolicySource, after: PolicySource): PolicyDiff {
  const old = rightsOf(before);
  const now = rightsOf(after);
  const modes = { before: defaultMode(before), after: defaultMode(after) };
  return {
    rights: [
      ...merged(missingFrom(old, now), "added"),
      ...merged(missingFrom(now, old), "removed"),
    ],
    ...(modes.before !== modes.after && { defaultMode: modes }),
    settings: diffSettings(settingsOf(before), settingsOf(after)),
  };
}

/** Differences as lines for a person; `+` for a gain, `-` for a loss, `~` for neither. */
export function diffLines({ rights, defaultMode: modes, settings }: PolicyDiff): string[] {
  const lines = rights.map(rightLine);
  if (modes !== undefined) {
    const now = modes.after === "permissive" ? "allowed and told" : "denied";
    lines.push(`~ what no rule allows is ${now}`);
  }
  for (const { what, before = "none", after = "none" } of settings) {
    lines.push(`~ ${what}: ${before} becomes ${after}`);
  }
  return lines;
}

const SIGNS = { gains: "+", loses: "-", told: "~" };

const VERBS: { readonly [K in RuleKind]: { readonly added: string; readonly removed: string } } = {
  allow: { added: "may", removed: "may no longer" },
  deny: { added: "is forbidden to", removed: "is no longer forbidden to" },
  "would-deny": { added: "would be forbidden to", removed: "would no longer be forbidden to" },
};

function rightLine({ effect, change, kind, who, actions, pattern, rule }: RightChange): string {
  const what = actions.map((action) => ACTION_WORDS[action]).join(" and ");
  return `${SIGNS[effect]} ${who} ${VERBS[kind][change]} ${what} ${pattern}: ${inWords(rule)}`;
}

/** The rights that no right of the others holds for. */
function missingFrom(others: readonly Right[], rights: readonly Right[]): Right[] {
  const same = new Set(others.map(keyOf));
  return rights.filter(
    (right) => !same.has(keyOf(right)) && !others.some((other) => rightCovers(other, right)),
  );
}

/** Rights of one rule that differ in their actions alone become one change. */
function merged(rights: readonly Right[], change: "added" | "removed"): RightChange[] {
  const changes = new Map<string, RightChange & { actions: Action[] }>();
  for (const { kind, action, pattern, who, rule } of rights) {
    const key = JSON.stringify([rule.id, kind, who, pattern]);
    const known = changes.get(key);
    if (known !== undefined) {
      if (!known.actions.includes(action)) known.actions.push(action);
      continue;
    }
    const effect = effectOf(kind, change);
    const entry = { effect, change, kind, who, actions: [action], pattern, rule: referTo(rule) };
    changes.set(key, entry);
  }
  return [...changes.values()];
}

function effectOf(kind: RuleKind, change: "added" | "removed"): RightChange["effect"] {
  if (kind === "would-deny") return "told";
  return (kind === "allow") === (change === "added") ? "gains" : "loses";
}

/** What each setting is about, and its values as JSON. */
function settingsOf({ topicSettings, limits }: PolicySource): Map<string, string> {
  const settings = new Map<string, string>();
  for (const { path, line, topics, ...values } of topicSettings) {
    for (const pattern of topics) settings.set(`topics ${pattern}`, sortedJson(values));
  }
  if (Object.keys(limits.defaults).length > 0) settings.set("limits", sortedJson(limits.defaults));
  for (const { uids, values } of limits.overrides) {
    for (const range of uids)
      settings.set(`limits of uid ${rangeInWords(range)}`, sortedJson(values));
  }
  return settings;
}

/** The same text for the same values, in whatever order they were written. */
function sortedJson(values: LimitValues | Readonly<Record<string, unknown>>): string {
  return JSON.stringify(Object.fromEntries(Object.entries(values).toSorted()));
}

function diffSettings(
  old: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
): SettingChange[] {
  const changes: SettingChange[] = [];
  for (const what of new Set([...old.keys(), ...now.keys()])) {
    const before = old.get(what);
    const after = now.get(what);
    if (before === after) continue;
    changes.push({ what, ...(before && { before }), ...(after && { after }) });
  }
  return changes;
}
