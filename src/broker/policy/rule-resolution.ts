/**
 * From rules as written to rules to decide on, and what the shape of one value cannot tell: who is
 * meant, and whether a rule contradicts itself or another.
 */

import type { FileShape, RuleShape } from "./policy-schema.ts";
import { checkUidRanges, type Resolution, resolvePrincipals } from "./principals.ts";
import type { Action, Mode, Rule } from "./rules.ts";
import { describeValue, type Problem } from "./value-schema.ts";

/** The keys that say whom a rule is about, but `any`. */
const WHO_KEYS = ["user", "uid", "group", "unit", "exe", "label"] as const;

const WHO_WORDS = WHO_KEYS.map((key) => `"${key}"`).join(", ");

/** What of a policy file its rules are resolved with. */
export interface RuleContext extends Omit<Resolution, "path"> {
  readonly path: string;
  readonly mode: Mode;
  /** The line of each rule, by its index. */
  readonly lineOf: (index: number) => number;
  /** Places of the ids of all files so far; grows. */
  readonly idPlaces: Map<string, string>;
}

/**
 * Resolves the rules of a file.
 * @param shapes in file order
 * @returns the rules, not to be used if a problem came to those of the context
 */
export function resolveRules(
  shapes: NonNullable<FileShape["rule"]>,
  context: RuleContext,
): readonly Rule[] {
  return shapes.map((shape, index) => resolveRule(shape, index, context));
}

function resolveRule(shape: RuleShape, index: number, context: RuleContext): Rule {
  const { path, mode, directory, problems } = context;
  checkActions(shape, index, problems);
  checkWho(shape, index, problems);
  const line = context.lineOf(index);
  const id = shape.id ?? `${path}:${line}`;
  const taken = context.idPlaces.get(id);
  if (taken !== undefined) problems.push(idTwice(shape, index, id, taken));
  else context.idPlaces.set(id, `${path}:${line}`);
  const resolution = { path: ["rule", index], directory, problems };
  const { user, uid, group, unit, exe, label } = shape;
  const users = user && resolvePrincipals(user, "user", resolution);
  const groups = group && resolvePrincipals(group, "group", resolution);
  if (uid !== undefined) checkUidRanges(uid, resolution);
  return {
    id,
    path,
    line,
    mode,
    allow: shape.allow ?? [],
    deny: shape.deny ?? [],
    topics: shape.topics,
    any: shape.any ?? false,
    ...(users && { users: users.ids, userWords: users.words }),
    ...(uid && { uids: uid }),
    ...(groups && { groups: groups.ids, groupWords: groups.words }),
    ...(unit && { units: unit }),
    ...(exe && { exes: exe }),
    ...(label && { labels: label }),
  };
}

function checkActions(shape: RuleShape, index: number, problems: Problem[]): void {
  if (shape.allow === undefined && shape.deny === undefined) {
    const message = 'The rule decides nothing, expected "allow" or "deny"';
    problems.push({ path: ["rule", index], origin: "value", message });
  }
  const allowed = new Set<Action>(shape.allow);
  for (const [at, action] of (shape.deny ?? []).entries()) {
    if (!allowed.has(action)) continue;
    const message = `Action "${action}" is in both "allow" and "deny" of this rule`;
    problems.push({ path: ["rule", index, "deny", at], origin: "value", message });
  }
}

function checkWho(shape: RuleShape, index: number, problems: Problem[]): void {
  const named = WHO_KEYS.find((key) => shape[key] !== undefined);
  if (shape.any && named !== undefined) {
    const message = `"any" stands for everybody, expected no "${named}" beside it`;
    problems.push({ path: ["rule", index, "any"], origin: "key", message });
  }
  if (!shape.any && named === undefined) {
    const message = `The rule is about nobody, expected ${WHO_WORDS} or "any = true"`;
    problems.push({ path: ["rule", index], origin: "value", message });
  }
}

/** Rules without an id that share a line share their `path:line` too. */
function idTwice(shape: RuleShape, index: number, id: string, taken: string): Problem {
  const path = shape.id === undefined ? ["rule", index] : ["rule", index, "id"];
  const message = `Rule id ${describeValue(id)} is taken by the rule at ${taken}, expected a new one`;
  return { path, origin: "value", message };
}
