/**
 * The commands of seqbus, their options and their help. Loads a command's code only when it runs,
 * so that `seqbus pub` does not wait for the broker's modules.
 */

import { Command, Option } from "commander";
import { SYSTEM_SOCKET_PATH } from "../bus-address.ts";
import { OVERFLOW_POLICIES } from "../protocol/words.ts";
import { VERSION } from "../version.ts";
import { EXIT_CODE_HELP } from "./exit-codes.ts";
import { addInspectionCommands } from "./inspection-program.ts";
import { stderr, stdout } from "./output.ts";
import { addPolicyCommands } from "./policy-program.ts";
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
import { addServiceCommands } from "./service-program.ts";

/** Which buses the help of the commands speaks of. */
const BUS_HELP = `
Buses:
  the user's    $XDG_RUNTIME_DIR/seqbus/bus.sock
  the system's  ${SYSTEM_SOCKET_PATH}
  any other     --socket, or $SEQBUS_SOCKET`;

/**
 * Builds the command line.
 * @param finish takes the exit code of the command that ran
 */
export function buildProgram(finish: (exitCode: number) => void): Command {
  const program = new Command("seqbus")
    .description("A message broker over Unix sockets: topics, known senders, open files.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", BUS_HELP)
    .addHelpText("after", EXIT_CODE_HELP)
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, "seqbus: ")),
    })
    .exitOverride();
  addBroker(program, finish);
  addPub(program, finish);
  addSub(program, finish);
  addInspectionCommands(program, finish);
  addServiceCommands(program, finish);
  addPolicyCommands(program, finish);
  addDemo(program, finish);
  return program;
}

function addBroker(program: Command, finish: (exitCode: number) => void): void {
  program
    .command("broker")
    .description("serve a bus; prints `listening on PATH` when clients may connect")
    .option(
      SOCKET_OPTION,
      "where to listen (default: $SEQBUS_SOCKET, else the system's bus for root, the user's bus " +
        "for others)",
    )
    .option("-p, --policy <file>", "who may do what (default: everything to your own uid alone)")
    .option(
      "-m, --mode <octal>",
      "permissions of the socket (default: 666 with a policy, else 600)",
    )
    .option("-v, --verbose", "log connections as well")
    .option(
      "-a, --audit <file>",
      "append one line of JSON per event, and open the file anew at SIGHUP; - for standard error, " +
        "in place of the log",
    )
    .addOption(
      new Option(
        "--verify <what>",
        "connect: a client is who connected; message: each packet of it",
      )
        .choices(["connect", "message"])
        .default("connect"),
    )
    .option(
      "--allow-unmapped",
      "let rules match clients that are nobody, or have no uid or gid in this user namespace",
    )
    .action(async (options) => {
      const { runBroker } = await import("./commands/broker.ts");
      finish(await runBroker(options));
    });
}

function addPub(program: Command, finish: (exitCode: number) => void): void {
  const command = program
    .command("pub")
    .description("publish a message and wait until the broker has routed it")
    .argument("<topic>", "such as sensors.kitchen.temperature")
    .argument("[data]", "the body; standard input where it is absent or -");
  const attachments = addInputOptions(command, "DATA is JSON", "DATA is anything");
  command
    .option("-r, --retain", "have the broker keep it for who subscribes later")
    .option("--retain-for <ms>", "the same, for so many milliseconds")
    .addOption(
      new Option("--clear", "publish nothing, have the broker forget what it kept").conflicts([
        "retain",
        "retainFor",
        "file",
        "memfd",
      ]),
    )
    .option("--receipt", "print what became of it, as one JSON object")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (topic, data, options) => {
      const { runPub } = await import("./commands/pub.ts");
      finish(await runPub(topic, data, { ...options, attachments }));
    });
}

function addSub(program: Command, finish: (exitCode: number) => void): void {
  program
    .command("sub")
    .description("print the messages of a topic or pattern, each with who sent it")
    .argument("<pattern>", "* stands for one token, > at the end for all that follow")
    .option("-n, --count <n>", "end after n messages")
    .addOption(new Option("--json", "print one JSON object a line").conflicts("bytes"))
    .addOption(
      new Option("--bytes", "print bodies alone, byte for byte").conflicts(["json", "catFds"]),
    )
    .addOption(new Option("--cat-fds", "print what each received file holds").conflicts("saveFds"))
    .option(SAVE_FDS_OPTION, SAVE_FDS_HELP)
    .option(SAVE_MAX_OPTION, "keep or print no file with more bytes (default: 1 GiB)")
    .option("-g, --group <name>", "share the messages with all others of this queue group")
    .addOption(
      new Option(
        "--overflow <policy>",
        "what happens to messages that are not read in time",
      ).choices(OVERFLOW_POLICIES),
    )
    .option(NO_RECONNECT_OPTION, NO_RECONNECT_HELP)
    .option("-v, --verbose", "say on stderr when the subscription stands, and when it is lost")
    .option(SOCKET_OPTION, CLIENT_SOCKET_HELP)
    .action(async (pattern, options) => {
      const { runSub } = await import("./commands/sub.ts");
      finish(await runSub(pattern, options));
    });
}

function addDemo(program: Command, finish: (exitCode: number) => void): void {
  program
    .command("demo")
    .description("show all of it on a private bus, with every step checked")
    .action(async () => {
      const { runDemo } = await import("./commands/demo.ts");
      finish(await runDemo());
    });
  program
    .command("demo-actor <part>", { hidden: true })
    .description("one of the processes of the demo")
    .action(async (part) => {
      const { runDemoActor } = await import("./commands/demo-actor.ts");
      finish(await runDemoActor(part));
    });
}
