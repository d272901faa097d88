/** The commands about services, their options and their help. */

import { type Command, Option } from "commander";
import { IF_OWNED_CHOICES } from "../protocol/words.ts";
import { ANSWER_FORMATS } from "./answer-format.ts";
import {
  addInputOptions,
  CLIENT_SOCKET_HELP,
  NO_RECONNECT_HELP,
  NO_RECONNECT_OPTION,
  SAVE_FDS_HELP,
  SAVE_FDS_OPTION,
  SAVE_MAX_OPTION,
  SOCKET_OPTION,
} from "./program-options.ts";

type Finish = (exitCode: number) => void;

const JSON_OPTION = "--json";
const JSON_HELP = "print one JSON object a line";
const VERBOSE_OPTION = "-v, --verbose";

/**
 * Adds call, serve, watch, wait and channel.
 * @param finish takes the exit code of the command that ran
 */
export function addServiceCommands(program: Command, finish: Finish): void {
  addCall(program, finish);
  addServe(program, finish);
  addWatch(program, finish);
  addWait(program, finish);
  addChannel(program, finish);
}

function addCall(program: Command, finish: Finish): void {
  const command = program
    .command("call")
    .description("call a service and print its answer; exit code 1 where it fails")
    .argument("<topic>", "the service, such as files.open")
    .argument("[data]", "the body; standard input where it is absent or -");
  const attachments = addInputOptions(
    command,
    "DATA is JSON, and the answer is printed as one JSON object with who gave it",
    "DATA is anything, and the answer is printed byte for byte",
  );
  command
    .option("-t, --timeout <ms>", "milliseconds until it is given up (default: 30000)")
    .addOption(
      new Option(
        "-o, --output <format>",
        "how the answer is printed (default: as --json or --bytes say, else human)",
      ).choices(ANSWER_FORMATS),
    )
    .addOption(
      new Option("--stream", "take an answer in parts, and print each as it comes").conflicts(
        "idempotent",
      ),
    )
    .option(SAVE_FDS_OPTION, `${SAVE_FDS_HELP}; exit code 1 where one is not saved`)
    .option(SAVE_MAX_OPTION, "keep no file with more bytes (default: 1 GiB)")
    .option("--idempotent", "the work may be done twice: where the broker ends, call the next one")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (topic, data, options) => {
      const { runCall } = await import("./commands/call.ts");
      finish(await runCall(topic, data, { ...options, attachments }));
    });
}

function addServe(program: Command, finish: Finish): void {
  program
    .command("serve")
    .description("serve a service: each call runs a command, which reads it and prints the answer")
    .argument("<topic>", "the service, such as files.open")
    .requiredOption(
      "-e, --exec <command>",
      "for sh -c: gets the body on standard input, files from fd 3 on, and SEQBUS_… variables; " +
        "what it prints is the answer, with the files whose paths it writes to " +
        "$SEQBUS_ANSWER_FILES, one a line; another exit code than 0 is an error EXIT_n with its " +
        "last line on standard error",
    )
    .option("--shared", "share the service with others that do")
    .addOption(
      new Option("--if-owned <what>", "where somebody else serves it")
        .choices([...IF_OWNED_CHOICES])
        .default("fail"),
    )
    .option("-j, --concurrency <n>", "commands that run at a time (default: 8)")
    .option(JSON_OPTION, "print one JSON object for each call that is done")
    .option(NO_RECONNECT_OPTION, NO_RECONNECT_HELP)
    .option(VERBOSE_OPTION, "say on stderr when it serves, and when the connection is lost")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (topic, options) => {
      const { runServe } = await import("./commands/serve.ts");
      finish(await runServe(topic, options));
    });
}

function addWatch(program: Command, finish: Finish): void {
  program
    .command("watch")
    .description("print who serves a service, now and whenever that changes")
    .argument("<service>", "such as files.open")
    .option("-n, --count <n>", "end after n lines")
    .option(JSON_OPTION, JSON_HELP)
    .option(NO_RECONNECT_OPTION, NO_RECONNECT_HELP)
    .option(VERBOSE_OPTION, "say on stderr when the connection is lost")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (service, options) => {
      const { runWatch } = await import("./commands/watch.ts");
      finish(await runWatch(service, options));
    });
}

function addWait(program: Command, finish: Finish): void {
  program
    .command("wait")
    .description("wait until somebody serves a service; exit code 1 where nobody does in time")
    .argument("<service>", "such as files.open")
    .option("-t, --timeout <ms>", "milliseconds (default: 30000)")
    .option(JSON_OPTION, "print who serves it as one JSON object")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (service, options) => {
      const { runWait } = await import("./commands/watch.ts");
      finish(await runWait(service, options));
    });
}

function addChannel(program: Command, finish: Finish): void {
  program
    .command("channel")
    .description("open a private channel: lines of standard input go out, messages are printed")
    .argument("<topic>", "the service that takes it, such as files.session")
    .option("--serve", "be that service, and take one channel")
    .option("-k, --keep", "go on when standard input has ended, until the other side closes")
    .option(JSON_OPTION, JSON_HELP)
    .option(VERBOSE_OPTION, "say on stderr who is at the other side")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (topic, options) => {
      const { runChannel } = await import("./commands/channel.ts");
      finish(await runChannel(topic, options));
    });
}
