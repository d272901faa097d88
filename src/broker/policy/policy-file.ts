/**
 * Loads a policy file: whole and right, or not at all.
 *
 * Does no I/O of its own; the file and the user database are handed in. All that can go wrong is
 * a ConfigError CONFIG_POLICY, which names the first place at fault. The rules of the language
 * stand in docs/policy.md.
 */

import { assert } from "../../assert.ts";
import type { ConfigError } from "../../errors.ts";
import { type Position, policyErrorAt, policyFileError } from "./policy-error.ts";
import { checkPolicyShape, type Problem } from "./policy-schema.ts";
import { resolveRules, type UserDirectory } from "./rule-resolution.ts";
import type { Policy } from "./rules.ts";
import { parseTomlDocument, type TomlDocument } from "./toml-document.ts";

export type { UserDirectory } from "./rule-resolution.ts";

/** S_IFMT and S_IFREG of st_mode. */
const MODE_TYPE_MASK = 0o170_000;
const MODE_REGULAR_FILE = 0o100_000;

/** S_IWGRP | S_IWOTH of st_mode. */
const MODE_WRITABLE_BY_OTHERS = 0o022;

const ROOT_UID = 0;

/** A file as read, with what fstat(2) said about the very fd it was read from. */
export interface PolicyFileContents {
  /** UTF-8, decoded. */
  readonly text: string;
  readonly ownerUid: number;
  /** st_mode, with the type bits. */
  readonly mode: number;
}

/** What loading needs of the outside. */
export interface PolicyIo {
  /**
   * Opens, stats and reads through one fd, so that nobody can swap the file between the check and
   * the read.
   * @throws whatever the system says where that fails
   */
  readFile(path: string): PolicyFileContents;
  /** The broker's effective uid; it and root may own the file. */
  readonly ownUid: number;
  readonly directory: UserDirectory;
}

/**
 * Reads a policy file, checks that it may be trusted, and parses it.
 * @param path as the administrator gave it; stands so in rule ids and messages
 * @throws {ConfigError} CONFIG_POLICY: unreadable, not a regular file, owned by somebody else,
 *   writable by group or others, or wrong (see parsePolicy)
 */
export function loadPolicy(path: string, io: PolicyIo): Policy {
  const contents = readContents(path, io);
  checkTrust(path, contents, io.ownUid);
  return parsePolicy(contents.text, path, io.directory);
}

/**
 * Parses the text of a policy file.
 * @param path stands in rule ids and messages; nothing is opened
 * @returns at least one rule, in file order
 * @throws {ConfigError} CONFIG_POLICY with line and column: not TOML, a key unknown, missing or
 *   twice, a value of the wrong kind, an empty list, an unknown user or group, a rule about nobody
 *   or deciding nothing, an id twice. Of several faults of one stage the first in the file is named
 */
export function parsePolicy(text: string, path: string, directory: UserDirectory): Policy {
  const document = parseTomlDocument(text, path);
  const shape = checkPolicyShape(document.root);
  if ("problems" in shape) throw firstError(shape.problems, document, path);
  const lineOf = (index: number) => document.locate(["rule", index], "value").line;
  const { rules, problems } = resolveRules(shape.rules, directory, { path, lineOf });
  if (problems.length > 0) throw firstError(problems, document, path);
  return { rules, path };
}

function readContents(path: string, io: PolicyIo): PolicyFileContents {
  try {
    return io.readFile(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw policyFileError(path, `Cannot read the policy file: ${reason}`, { cause });
  }
}

function checkTrust(path: string, contents: PolicyFileContents, ownUid: number): void {
  const { mode, ownerUid } = contents;
  if ((mode & MODE_TYPE_MASK) !== MODE_REGULAR_FILE) {
    throw policyFileError(path, "The policy is not a regular file");
  }
  if (ownerUid !== ROOT_UID && ownerUid !== ownUid) {
    const wanted = ownUid === ROOT_UID ? "root" : `root or uid ${ownUid}`;
    throw policyFileError(path, `The policy file belongs to uid ${ownerUid}, expected ${wanted}`);
  }
  if ((mode & MODE_WRITABLE_BY_OTHERS) !== 0) {
    const permissions = (mode & 0o7777).toString(8).padStart(4, "0");
    const message = `The policy file is writable by group or others (mode ${permissions})`;
    throw policyFileError(path, `${message}, expected 0644 or less`);
  }
}

/** @param problems at least one */
function firstError(
  problems: readonly Problem[],
  document: TomlDocument,
  path: string,
): ConfigError {
  const [first, ...others] = problems;
  assert(first !== undefined, "there is a problem to report");
  let problem = first;
  let position = document.locate(first.path, first.origin);
  for (const other of others) {
    const at = document.locate(other.path, other.origin);
    if (!isBefore(at, position)) continue;
    problem = other;
    position = at;
  }
  const options = problem.cause === undefined ? undefined : { cause: problem.cause };
  return policyErrorAt(path, position, problem.message, options);
}

function isBefore(a: Position, b: Position): boolean {
  return a.line < b.line || (a.line === b.line && a.column < b.column);
}
