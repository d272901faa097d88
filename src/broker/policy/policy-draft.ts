/**
 * A policy in the making: the text of one file after the other is parsed, checked and added, and
 * what may stand only once is looked for across them.
 */

import { assert } from "../../assert.ts";
import type { ConfigError } from "../../errors.ts";
import { FILE_START, type Position, policyErrorAt } from "./policy-error.ts";
import { checkPolicyShape, NO_RULE } from "./policy-schema.ts";
import type { UserDirectory } from "./principals.ts";
import { resolveRules } from "./rule-resolution.ts";
import type { PolicyFile, PolicySource, Rule } from "./rules.ts";
import { emptySettings, resolveSettings, type SettingDraft } from "./setting-resolution.ts";
import { parseTomlDocument, type TomlDocument } from "./toml-document.ts";
import type { Problem } from "./value-schema.ts";

/** What the files so far have brought. */
export interface PolicyDraft {
  readonly files: PolicyFile[];
  readonly rules: Rule[];
  readonly idPlaces: Map<string, string>;
  readonly settings: SettingDraft;
}

/** A draft with nothing in it. */
export function emptyDraft(): PolicyDraft {
  return { files: [], rules: [], idPlaces: new Map(), settings: emptySettings() };
}

/**
 * Parses a file and adds it to a draft.
 * @param path stands in rule ids and messages; nothing is opened
 * @throws {ConfigError} CONFIG_POLICY; the draft must not be used any more
 */
export function parseFile(
  text: string,
  path: string,
  directory: UserDirectory,
  draft: PolicyDraft,
): void {
  const document = parseTomlDocument(text, path);
  const checked = checkPolicyShape(document.root);
  if ("problems" in checked) throw firstError(checked.problems, document, path);
  const { shape } = checked;
  if (shape.rule === undefined && shape.topic === undefined && shape.limits === undefined) {
    throw policyErrorAt(path, FILE_START, NO_RULE);
  }
  const { mode = "enforce" } = shape;
  const problems: Problem[] = [];
  const rules = resolveRules(shape.rule ?? [], {
    path,
    mode,
    directory,
    problems,
    idPlaces: draft.idPlaces,
    lineOf: (index) => document.locate(["rule", index], "value").line,
  });
  resolveSettings(shape, {
    path,
    directory,
    problems,
    draft: draft.settings,
    lineOf: (at, origin) => document.locate(at, origin).line,
  });
  if (problems.length > 0) throw firstError(problems, document, path);
  draft.files.push({ path, mode });
  for (const rule of rules) draft.rules.push(rule);
}

/** The policy that a draft has come to. */
export function sourceOf({ files, rules, settings }: PolicyDraft, path: string): PolicySource {
  const { defaults, overrides } = settings;
  return { path, files, rules, topicSettings: settings.topics, limits: { defaults, overrides } };
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
