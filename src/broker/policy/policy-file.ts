/**
 * Loads a policy: all its files, whole and right, or not at all.
 *
 * Does no I/O of its own; the files and the user database are handed in. All that can go wrong is
 * a ConfigError CONFIG_POLICY, which names the first place at fault. The rules of the language
 * stand in docs/policy.md.
 */

import { dirname, join } from "node:path/posix";
import { assert } from "../../assert.ts";
import { buildPolicy } from "./policy-build.ts";
import { emptyDraft, parseFile, sourceOf } from "./policy-draft.ts";
import { FILE_START, policyErrorAt, policyFileError } from "./policy-error.ts";
import { NO_RULE } from "./policy-schema.ts";
import type { UserDirectory } from "./principals.ts";
import type { Policy, PolicySource } from "./rules.ts";

export type { UserDirectory } from "./principals.ts";

/** S_IFMT, S_IFREG and S_IFDIR of st_mode. */
const MODE_TYPE_MASK = 0o170_000;
const MODE_REGULAR_FILE = 0o100_000;
const MODE_DIRECTORY = 0o040_000;

/** S_IWGRP | S_IWOTH of st_mode. */
const MODE_WRITABLE_BY_OTHERS = 0o022;

const ROOT_UID = 0;

/** Beside the main file. */
const DROP_IN_DIRECTORY = "policy.d";

/** Others lie in the directory undisturbed: notes, and what editors and package managers leave. */
const DROP_IN_NAME = /^[^.].*\.toml$/;

/** Guess: far more than anybody has packages that bring one. */
const DROP_INS_MAX = 1_000;

/** What fstat(2) said about a file or directory, through the very fd it was read by. */
export interface PolicyFileOwnership {
  readonly ownerUid: number;
  /** st_mode, with the type bits. */
  readonly mode: number;
}

/** A file as read. */
export interface PolicyFileContents extends PolicyFileOwnership {
  /** UTF-8, decoded. */
  readonly text: string;
}

/** A directory as read. */
export interface PolicyDirectoryContents extends PolicyFileOwnership {
  /** Of all entries but "." and "..", in any order. */
  readonly names: readonly string[];
}

/** What loading needs of the outside. */
export interface PolicyIo {
  /**
   * Opens, stats and reads through one fd, so that nobody can swap the file between the check and
   * the read.
   * @throws whatever the system says where that fails
   */
  readFile(path: string): PolicyFileContents;
  /**
   * The same for a directory. Left out where there are no drop-ins to be read.
   * @returns undefined where there is nothing of this name
   * @throws whatever else the system says
   */
  readDirectory?(path: string): PolicyDirectoryContents | undefined;
  /** The broker's effective uid; it and root may own the files. */
  readonly ownUid: number;
  readonly directory: UserDirectory;
}

/**
 * Reads a policy, checks that it may be trusted, and parses it. Takes about half a second for
 * 10,000 rules: where that matters, load the source on another thread and build the policy here.
 * @param paths as the administrator gave them, see loadPolicySource()
 * @throws {ConfigError} CONFIG_POLICY, see loadPolicySource()
 */
export function loadPolicy(paths: string | readonly string[], io: PolicyIo): Policy {
  return buildPolicy(loadPolicySource(paths, io));
}

/**
 * The slow part of loadPolicy(): all of it but the index.
 * @param paths as the administrator gave them; they stand so in rule ids and messages. A single
 *   one is the main file, and `policy.d/*.toml` beside it are read too, sorted by name. Several
 *   are the policy as they stand, in this order
 * @returns plain data, to be sent to another thread by serializePolicy()
 * @throws {ConfigError} CONFIG_POLICY: unreadable, not a regular file, owned by somebody else,
 *   writable by group or others, or wrong (see parsePolicy)
 */
export function loadPolicySource(paths: string | readonly string[], io: PolicyIo): PolicySource {
  const given = typeof paths === "string" ? [paths] : paths;
  const [main] = given;
  assert(main !== undefined, "a policy has a file");
  const all = given.length === 1 ? [main, ...findDropIns(main, io)] : given;
  const draft = emptyDraft();
  for (const path of all) {
    const contents = reading(path, () => io.readFile(path));
    checkType(path, contents.mode, MODE_REGULAR_FILE, "The policy is not a regular file");
    checkTrust(path, "policy file", contents, io.ownUid);
    parseFile(contents.text, path, io.directory, draft);
  }
  if (draft.rules.length === 0) throw policyErrorAt(main, FILE_START, NO_RULE);
  return sourceOf(draft, main);
}

/**
 * Parses the text of a policy of one file.
 * @param path stands in rule ids and messages; nothing is opened
 * @returns at least one rule, in file order
 * @throws {ConfigError} CONFIG_POLICY with line and column: not TOML, a key unknown, missing or
 *   twice, a value of the wrong kind, an empty list, an unknown user or group, a rule about nobody
 *   or deciding nothing, an id twice. Of several faults of one stage the first in the file is named
 */
export function parsePolicy(text: string, path: string, directory: UserDirectory): Policy {
  const draft = emptyDraft();
  parseFile(text, path, directory, draft);
  if (draft.rules.length === 0) throw policyErrorAt(path, FILE_START, NO_RULE);
  return buildPolicy(sourceOf(draft, path));
}

/** @returns paths, in the order in which they are read */
function findDropIns(main: string, io: PolicyIo): string[] {
  const path = join(dirname(main), DROP_IN_DIRECTORY);
  const contents = reading(path, () => io.readDirectory?.(path));
  if (contents === undefined) return [];
  checkType(path, contents.mode, MODE_DIRECTORY, "The place of drop-ins is not a directory");
  checkTrust(path, "directory", contents, io.ownUid);
  const names = contents.names.filter((name) => DROP_IN_NAME.test(name));
  if (names.length > DROP_INS_MAX) {
    const message = `There are ${names.length} drop-ins, expected ${DROP_INS_MAX} at most`;
    throw policyFileError(path, message);
  }
  return names.toSorted(byCodeUnits).map((name) => join(path, name));
}

/** The same order in every locale. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function reading<Contents>(path: string, read: () => Contents): Contents {
  try {
    return read();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw policyFileError(path, `Cannot read the policy file: ${reason}`, { cause });
  }
}

function checkType(path: string, mode: number, type: number, message: string): void {
  if ((mode & MODE_TYPE_MASK) !== type) throw policyFileError(path, message);
}

function checkTrust(
  path: string,
  what: "policy file" | "directory",
  { mode, ownerUid }: PolicyFileOwnership,
  ownUid: number,
): void {
  if (ownerUid !== ROOT_UID && ownerUid !== ownUid) {
    const wanted = ownUid === ROOT_UID ? "root" : `root or uid ${ownUid}`;
    throw policyFileError(path, `The ${what} belongs to uid ${ownerUid}, expected ${wanted}`);
  }
  if ((mode & MODE_WRITABLE_BY_OTHERS) !== 0) {
    const permissions = (mode & 0o7777).toString(8).padStart(4, "0");
    const message = `The ${what} is writable by group or others (mode ${permissions})`;
    const wanted = what === "directory" ? "0755" : "0644";
    throw policyFileError(path, `${message}, expected ${wanted} or less`);
  }
}
