/**
 * From rules as written to rules to decide on: names become numbers, and what the shape of one
 * value cannot tell is checked.
 *
 * A name that the user database does not know is a problem, never a number. Numbers are taken as
 * they are and not looked up, so a policy of numbers loads while a directory service is down.
 */

import { describeValue, ID_MAX, type Problem, type RuleShape } from "./policy-schema.ts";
import type { Action, Rule } from "./rules.ts";

/** The users and groups of this machine. Look-ups by name; undefined where there is none. */
export interface UserDirectory {
  /** @throws {SyscallError} where the database cannot be asked */
  findUser(name: string): { readonly uid: number } | undefined;
  /** @throws {SyscallError} where the database cannot be asked */
  findGroup(name: string): { readonly gid: number } | undefined;
}

/** What came of resolving; with a problem among it, the rules must not be used. */
export interface ResolvedRules {
  readonly rules: readonly Rule[];
  readonly problems: readonly Problem[];
}

/** A user or group, as number and in words. */
interface Principal {
  readonly id: number;
  readonly words: string;
}

type PrincipalKey = "user" | "group";

type FindId = (directory: UserDirectory, name: string) => number | undefined;

const FIND_ID: Readonly<Record<PrincipalKey, FindId>> = {
  user: (directory, name) => directory.findUser(name)?.uid,
  group: (directory, name) => directory.findGroup(name)?.gid,
};

/**
 * Resolves all rules of a file.
 * @param shapes in file order
 * @param source where they come from: the path for ids, and the line of each rule by its index
 */
export function resolveRules(
  shapes: readonly RuleShape[],
  directory: UserDirectory,
  source: { readonly path: string; readonly lineOf: (index: number) => number },
): ResolvedRules {
  const problems: Problem[] = [];
  const seenIds = new Set<string>();
  const rules = shapes.map((shape, index): Rule => {
    checkActions(shape, index, problems);
    checkWho(shape, index, problems);
    const line = source.lineOf(index);
    const id = shape.id ?? `${source.path}:${line}`;
    if (seenIds.has(id)) problems.push(idTwice(shape, index, id));
    seenIds.add(id);
    const users = resolvePrincipals(shape, "user", { index, directory, problems });
    const groups = resolvePrincipals(shape, "group", { index, directory, problems });
    return {
      id,
      line,
      allow: new Set(shape.allow),
      deny: new Set(shape.deny),
      topics: shape.topics,
      users: users?.map((user) => user.id),
      groups: groups?.map((group) => group.id),
      any: shape.any ?? false,
      who: whoInWords(users, groups),
    };
  });
  return { rules, problems };
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
  const named = shape.user !== undefined || shape.group !== undefined;
  if (shape.any && named) {
    const message = '"any" stands for everybody, expected no "user" or "group" beside it';
    problems.push({ path: ["rule", index, "any"], origin: "key", message });
  }
  if (!shape.any && !named) {
    const message = 'The rule is about nobody, expected "user", "group" or "any = true"';
    problems.push({ path: ["rule", index], origin: "value", message });
  }
}

/** Rules without an id that share a line share their `path:line` too. */
function idTwice(shape: RuleShape, index: number, id: string): Problem {
  const path = shape.id === undefined ? ["rule", index] : ["rule", index, "id"];
  const message = `Rule id ${describeValue(id)} is taken by an earlier rule, expected a new one`;
  return { path, origin: "value", message };
}

interface Resolution {
  readonly index: number;
  readonly directory: UserDirectory;
  readonly problems: Problem[];
}

function resolvePrincipals(
  shape: RuleShape,
  key: PrincipalKey,
  resolution: Resolution,
): readonly Principal[] | undefined {
  const written = shape[key];
  if (written === undefined) return undefined;
  const principals: Principal[] = [];
  for (const [at, nameOrId] of written.entries()) {
    if (typeof nameOrId === "number") {
      principals.push({ id: nameOrId, words: String(nameOrId) });
      continue;
    }
    const found = findId(key, nameOrId, resolution.directory);
    if (typeof found === "number") {
      principals.push({ id: found, words: `${describeValue(nameOrId)} (${found})` });
    } else {
      const path = ["rule", resolution.index, key, at];
      resolution.problems.push({ path, origin: "value", ...found });
    }
  }
  return principals;
}

/** @returns the number, or why there is none */
function findId(
  key: PrincipalKey,
  name: string,
  directory: UserDirectory,
): number | { readonly message: string; readonly cause?: unknown } {
  let id: number | undefined;
  try {
    id = FIND_ID[key](directory, name);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { message: `Cannot look up ${key} ${describeValue(name)}: ${reason}`, cause };
  }
  if (id === undefined) {
    const hint = /^[0-9]+$/.test(name) ? "; numbers stand without quotes" : "";
    return { message: `Unknown ${key} ${describeValue(name)}${hint}` };
  }
  if (!Number.isInteger(id) || id < 0 || id > ID_MAX) {
    const message = `Unusable number of ${key} ${describeValue(name)}`;
    return { message: `${message}: got ${id}, expected 0 to ${ID_MAX}` };
  }
  return id;
}

function whoInWords(
  users: readonly Principal[] | undefined,
  groups: readonly Principal[] | undefined,
): string {
  const parts: string[] = [];
  if (users !== undefined) parts.push(`user ${inWords(users)}`);
  if (groups !== undefined) parts.push(`group ${inWords(groups)}`);
  return parts.length === 0 ? "anybody" : parts.join(" and ");
}

function inWords(principals: readonly Principal[]): string {
  return principals.map((principal) => principal.words).join(" or ");
}
