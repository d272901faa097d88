/** `seqbus policy`: checks policy files, explains their verdicts and compares them. */

import { explain, explanationLines } from "../../broker/policy/explain.ts";
import { diffLines, diffPolicies } from "../../broker/policy/policy-diff.ts";
import { loadPolicy, loadPolicySource } from "../../broker/policy/policy-file.ts";
import type { PolicySource } from "../../broker/policy/rules.ts";
import { ArgumentError, ConfigError } from "../../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { reportError, stdout } from "../output.ts";
import { type ClientOptions, parseQuestion } from "../policy-question.ts";
import { systemPolicyIo } from "../policy-source.ts";
import { printable } from "../printable-text.ts";

/** Options of all three commands. */
export interface PolicyCommandOptions {
  readonly json?: boolean;
}

/** Options of `seqbus policy explain`, as commander has them. */
export interface PolicyExplainOptions extends PolicyCommandOptions, Omit<ClientOptions, "user"> {
  /** Left out for oneself, where a bus is asked. */
  readonly user?: string;
  /** Empty: ask the bus that runs. */
  readonly policy: readonly string[];
  /** Of that bus. */
  readonly socket?: string;
}

/**
 * Reads a policy as a broker under this user would.
 * @returns the exit code: 1 where the broker would refuse it
 */
export async function runPolicyCheck(
  files: readonly string[],
  { json = false }: PolicyCommandOptions,
): Promise<number> {
  return refusing(json, () => {
    const source = loadPolicySource(files, systemPolicyIo());
    if (json) printJson({ ok: true, files: source.files, rules: source.rules.length });
    else printLines(checkLines(source));
    return EXIT.OK;
  });
}

/**
 * Explains one verdict.
 * @returns the exit code: 0 allowed, 4 denied, 1 where the policy would be refused
 * @throws {ArgumentError} ARGUMENT_OPTION, ARGUMENT_TOPIC, ARGUMENT_PATTERN
 */
export async function runPolicyExplain(
  action: string,
  topic: string,
  options: PolicyExplainOptions,
): Promise<number> {
  const { json = false, policy: files } = options;
  const client = { ...options, user: options.user ?? defaultUser(files) };
  const question = parseQuestion(action, topic, client);
  if (files.length === 0) {
    const { explainLive } = await import("./policy-live.ts");
    return await explainLive(question, client);
  }
  return refusing(json, () => {
    const policy = loadPolicy(files, systemPolicyIo());
    const answer = explain(policy, question.identity, question.action, question.topic);
    if (json) printJson(answer);
    else printLines(explanationLines(answer));
    return answer.verdict === "allowed" ? EXIT.OK : EXIT.REFUSED;
  });
}

/**
 * Compares two policies.
 * @returns the exit code: 0 whether or not they differ, 1 where one would be refused
 */
export async function runPolicyDiff(
  before: string,
  after: string,
  { json = false }: PolicyCommandOptions,
): Promise<number> {
  return refusing(json, () => {
    const io = systemPolicyIo();
    const diff = diffPolicies(loadPolicySource(before, io), loadPolicySource(after, io));
    if (json) printJson(diff);
    else printLines(diffLines(diff));
    return EXIT.OK;
  });
}

/** Whoever asks, of a bus. Of a file nobody: which groups it is to be is not known. */
function defaultUser(files: readonly string[]): string {
  if (files.length === 0) return `${process.geteuid?.() ?? 0}`;
  const message = "Cannot ask about nobody: with --policy say who it is about, by --user";
  throw new ArgumentError("ARGUMENT_OPTION", message, "user");
}

/** Runs a command that a wrong policy ends with exit code 1: here the file is what was asked about. */
function refusing(json: boolean, run: () => number): number {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    reportError(error, json);
    return EXIT.FAILED;
  }
}

function checkLines({ files, rules }: PolicySource): string[] {
  const lines = [`ok: ${counted(rules.length, "rule")} in ${counted(files.length, "file")}`];
  for (const { path, mode } of files) {
    if (mode === "permissive") lines.push(`permissive: ${path} denies nothing, it only tells`);
  }
  return lines;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function printLines(lines: readonly string[]): void {
  for (const line of lines) stdout.write(`${printable(line)}\n`);
}

function printJson(value: unknown): void {
  stdout.write(`${JSON.stringify(value)}\n`);
}
