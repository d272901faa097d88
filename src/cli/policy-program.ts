/** The commands of `seqbus policy`, their options and their help. */

import { type Command, Option } from "commander";

const JSON_OPTION = "--json";
const JSON_HELP = "print one JSON object";

/**
 * Adds `policy` with its commands.
 * @param finish takes the exit code of the command that ran
 */
export function addPolicyCommands(program: Command, finish: (exitCode: number) => void): void {
  const policy = program
    .command("policy")
    .description("check a policy, ask it questions, compare two, reload");
  addCheck(policy, finish);
  addExplain(policy, finish);
  addDiff(policy, finish);
  addReload(policy, finish);
}

function addCheck(policy: Command, finish: (exitCode: number) => void): void {
  policy
    .command("check")
    .description("read policy files as the broker would; exit code 1 where it would refuse them")
    .argument("<files...>", "the main file, with policy.d beside it; or all files of a policy")
    .option(JSON_OPTION, JSON_HELP)
    .action(async (files, options) => {
      const { runPolicyCheck } = await import("./commands/policy.ts");
      finish(await runPolicyCheck(files, options));
    });
}

function addExplain(policy: Command, finish: (exitCode: number) => void): void {
  policy
    .command("explain")
    .description("say whether a client may do something, and why; exit code 4 where it may not")
    .argument("<action>", "such as publish, subscribe or send-fds")
    .argument("<topic>", "a topic, or for subscribe a pattern")
    .addOption(
      repeatable("-p, --policy <file>", "a policy file; may be repeated", "ask the bus that runs"),
    )
    .option("-s, --socket <path>", "the socket of the bus to ask")
    .option("-u, --user <user>", "name or number; needed with --policy (default: yourself)")
    .addOption(
      repeatable("-g, --group <group>", "a supplementary group; may be repeated", "in no other"),
    )
    .option("--unit <unit>", "systemd unit (default: in none)")
    .option("--exe <path>", "executable (default: one that no rule names)")
    .option("--label <label>", "label of the security module (default: none)")
    .option(JSON_OPTION, JSON_HELP)
    .action(async (action, topic, options) => {
      const { runPolicyExplain } = await import("./commands/policy.ts");
      finish(await runPolicyExplain(action, topic, options));
    });
}

function addDiff(policy: Command, finish: (exitCode: number) => void): void {
  policy
    .command("diff")
    .description("list who gains and who loses what by a new policy")
    .argument("<old>", "main file of a policy, with policy.d beside it")
    .argument("<new>", "main file of the other")
    .option(JSON_OPTION, JSON_HELP)
    .action(async (before, after, options) => {
      const { runPolicyDiff } = await import("./commands/policy.ts");
      finish(await runPolicyDiff(before, after, options));
    });
}

function addReload(policy: Command, finish: (exitCode: number) => void): void {
  policy
    .command("reload")
    .description("make the broker read its policy files again; needs root or the broker's user")
    .option("-s, --socket <path>", "the socket of the bus")
    .option(JSON_OPTION, JSON_HELP)
    .action(async (options) => {
      const { runPolicyReload } = await import("./commands/policy-live.ts");
      finish(await runPolicyReload(options));
    });
}

/** @param otherwise what holds where it is not given, as the help says it */
function repeatable(flags: string, help: string, otherwise: string): Option {
  return new Option(flags, help).argParser(append).default([], otherwise);
}

function append(value: string, values: readonly string[]): readonly string[] {
  return [...values, value];
}
