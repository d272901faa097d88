/**
 * Users and groups of a policy file: names become numbers, once, when the file is loaded.
 *
 * A name that the user database does not know is a problem, never a number. Numbers are taken as
 * they are and not looked up, so a policy of numbers loads while a directory service is down.
 */

import { ID_MAX } from "./policy-schema.ts";
import { type IdRange, isInRanges } from "./rules.ts";
import type { TomlPath } from "./toml-document.ts";
import { describeValue, type Problem } from "./value-schema.ts";

/**
 * What the kernel says in place of ids that have no number here, unless it was told otherwise.
 * @see proc_sys_kernel(5) overflowuid, overflowgid
 */
export const OVERFLOW_ID = 65_534;

/** The users and groups of this machine. Look-ups by name; undefined where there is none. */
export interface UserDirectory {
  /** @throws {SyscallError} where the database cannot be asked */
  findUser(name: string): { readonly uid: number } | undefined;
  /** @throws {SyscallError} where the database cannot be asked */
  findGroup(name: string): { readonly gid: number } | undefined;
  /** The ids that stand for everybody of another user namespace; OVERFLOW_ID if left out. */
  readonly overflow?: { readonly uid: number; readonly gid: number };
}

/** Numbers, and the same in words for people, one for each. */
export interface Principals {
  readonly ids: readonly number[];
  readonly words: readonly string[];
}

/** Where resolved values stand, and where problems with them go. */
export interface Resolution {
  /** The table that has the key. */
  readonly path: TomlPath;
  readonly directory: UserDirectory;
  readonly problems: Problem[];
}

type PrincipalKey = "user" | "group";

type FindId = (directory: UserDirectory, name: string) => number | undefined;

const FIND_ID: Readonly<Record<PrincipalKey, FindId>> = {
  user: (directory, name) => directory.findUser(name)?.uid,
  group: (directory, name) => directory.findGroup(name)?.gid,
};

/**
 * Resolves the value of a `user` or `group`.
 * @returns those that could be resolved; what could not is among the problems
 */
export function resolvePrincipals(
  written: readonly (string | number)[],
  key: PrincipalKey,
  resolution: Resolution,
): Principals {
  const { directory, problems } = resolution;
  const ids: number[] = [];
  const words: string[] = [];
  for (const [at, nameOrId] of written.entries()) {
    const found =
      typeof nameOrId === "number" ? nameOrId : findId(key, nameOrId, resolution.directory);
    const problem =
      typeof found !== "number"
        ? found
        : found === overflowOf(directory, key)
          ? { message: standsForOthers(key, found) }
          : undefined;
    if (problem !== undefined) {
      problems.push({ path: [...resolution.path, key, at], origin: "value", ...problem });
    } else if (typeof found === "number") {
      ids.push(found);
      words.push(
        typeof nameOrId === "string" ? `${describeValue(nameOrId)} (${found})` : String(found),
      );
    }
  }
  return { ids, words };
}

/** Checks the value of a `uid`, which needs no looking up. */
export function checkUidRanges(ranges: readonly IdRange[], resolution: Resolution): void {
  const overflow = overflowOf(resolution.directory, "user");
  for (const [at, range] of ranges.entries()) {
    if (!isInRanges([range], overflow)) continue;
    const message = standsForOthers("user", overflow);
    resolution.problems.push({ path: [...resolution.path, "uid", at], origin: "value", message });
  }
}

function overflowOf(directory: UserDirectory, key: PrincipalKey): number {
  const { overflow = { uid: OVERFLOW_ID, gid: OVERFLOW_ID } } = directory;
  return key === "user" ? overflow.uid : overflow.gid;
}

function standsForOthers(key: PrincipalKey, id: number): string {
  return `Unusable ${key}: ${id} stands for every ${key} of other namespaces, expected a ${key} of this one`;
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
