/** `seqbus policy explain` and `seqbus policy reload` on a bus that runs. */

import { NO_GROUP } from "../../broker/policy/condition-words.ts";
import { type Explanation, explanationLines } from "../../broker/policy/explain.ts";
import type { PolicyQuestion } from "../../client/bus-options.ts";
import { connectOnce } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { stdout } from "../output.ts";
import type { ClientOptions, PolicyQuestion as ParsedQuestion } from "../policy-question.ts";
import { printable } from "../printable-text.ts";

/** Options of both commands. */
export interface LiveOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

/**
 * Asks a running broker.
 * @param question as it was typed, with names looked up here
 * @returns the exit code: 0 allowed, 4 denied
 */
export async function explainLive(
  question: ParsedQuestion,
  options: LiveOptions & ClientOptions,
): Promise<number> {
  await using bus = await connectOnce(options.socket);
  const answer = (await bus.explain(wireQuestion(question, options))) as Explanation;
  if (options.json === true) stdout.write(`${JSON.stringify(answer)}\n`);
  else for (const line of explanationLines(answer)) stdout.write(`${printable(line)}\n`);
  return answer.verdict === "allowed" ? EXIT.OK : EXIT.REFUSED;
}

/**
 * Makes a running broker read its policy files again.
 * @throws {ConfigError} CONFIG_POLICY where they are wrong; the old policy stays in force
 * @throws {RejectedError} REJECTED_NOT_ADMINISTRATOR
 */
export async function runPolicyReload(options: LiveOptions): Promise<number> {
  await using bus = await connectOnce(options.socket);
  const rules = await bus.reloadPolicy();
  if (options.json === true) stdout.write(`${JSON.stringify({ ok: true, rules })}\n`);
  else stdout.write(`ok: ${rules} rule${rules === 1 ? " is" : "s are"} in force\n`);
  return EXIT.OK;
}

/** Who asks about nobody but itself needs no administrator, and is answered as the kernel sees it. */
function wireQuestion(
  { action, topic, identity }: ParsedQuestion,
  { group, unit, exe, label }: ClientOptions,
): PolicyQuestion {
  const isPlain = group.length === 0 && unit === undefined && exe === undefined;
  if (isPlain && label === undefined && identity.uid === process.geteuid?.()) {
    return { action, topic };
  }
  const { uid, gid, groups } = identity;
  const who = { uid, gid: gid === NO_GROUP ? undefined : gid, groups: [...groups] };
  return { action, topic, ...who, unit, exe, label };
}
