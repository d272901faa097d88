/** The commands that look at a bus that runs: their options and their help. */

import { Argument, type Command } from "commander";
import { CLIENT_SOCKET_HELP, SOCKET_OPTION } from "./program-options.ts";

/** What `seqbus ls` can list. */
export const LISTS = ["clients", "services", "topics", "subscriptions"] as const;

/** One of LISTS. */
export type ListName = (typeof LISTS)[number];

const JSON_LINE_HELP = "print one JSON object a line";

/**
 * Adds `stats`, `ls` and `whois`.
 * @param finish takes the exit code of the command that ran
 */
export function addInspectionCommands(program: Command, finish: (exitCode: number) => void): void {
  program
    .command("stats")
    .description("print what went through the bus, and by whom")
    .option("--json", "print one JSON object")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (options) => {
      const { runStats } = await import("./commands/inspect.ts");
      finish(await runStats(options));
    });
  program
    .command("ls")
    .description(
      "list what there is: all of it for administrators, else what is your own; DROPPED of a topic " +
        "is what was refused at once, and what was delivered may be lost from a queue later",
    )
    .addArgument(new Argument("[list]", "of what").choices(LISTS).default("clients"))
    .argument("[pattern]", "only the services, topics or subscriptions that it meets")
    .option("--json", JSON_LINE_HELP)
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (list, pattern, options) => {
      const { runLs } = await import("./commands/inspect.ts");
      finish(await runLs(list, pattern, options));
    });
  program
    .command("whois")
    .description(
      "print all that the broker knows of some clients; exit code 1 where one is not there",
    )
    .argument("<who...>", "a connection id, or uid=N, gid=N, pid=N, unit=NAME, exe=PATH")
    .option("--json", JSON_LINE_HELP)
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (who, options) => {
      const { runWhois } = await import("./commands/inspect.ts");
      finish(await runWhois(who, options));
    });
}
