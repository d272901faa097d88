/** Options that several commands have, in the words that all of them use. */

import { type Command, Option } from "commander";
import type { Attachment } from "./message-input.ts";

/** The broker's socket. */
export const SOCKET_OPTION = "-s, --socket <path>";
export const CLIENT_SOCKET_HELP =
  "the broker's socket (default: $SEQBUS_SOCKET, else the user's bus, else the system's)";

/** For commands that go on until they are ended. */
export const NO_RECONNECT_OPTION = "--no-reconnect";
export const NO_RECONNECT_HELP = "end when the broker does (default: wait for it to come back)";

/** For commands that get files. */
export const SAVE_FDS_OPTION = "--save-fds <dir>";
export const SAVE_FDS_HELP =
  "copy received files, memory and pipes to DIR/NUMBER-INDEX: NUMBER counts messages, INDEX the " +
  "files of one";
export const SAVE_MAX_OPTION = "--save-max <bytes>";

/**
 * Whether a command prints JSON, as it was called: then what fails is told as JSON, too. Of a
 * command that sends, --json is about DATA; --output or --receipt is about what is printed.
 */
export function printsJson(command: Command): boolean {
  const { json, output, receipt } = command.opts();
  if (output !== undefined) return output === "json";
  return command.name() === "pub" ? receipt === true : json === true;
}

/**
 * Adds the options of a command that sends DATA.
 * @returns what --file and --memfd name, filled when the arguments are read
 */
export function addInputOptions(
  command: Command,
  jsonHelp: string,
  bytesHelp: string,
): Attachment[] {
  const attachments: Attachment[] = [];
  const attach = (how: Attachment["how"]) => (path: string) => {
    attachments.push({ how, path });
    return path;
  };
  command
    .addOption(new Option("--text", "DATA is text in UTF-8 (default)").conflicts(["json", "bytes"]))
    .addOption(new Option("--json", jsonHelp).conflicts(["text", "bytes"]))
    .addOption(new Option("--bytes", bytesHelp).conflicts(["text", "json"]))
    .option("-f, --file <path>", "open a file and pass it along; may be repeated", attach("file"))
    .option(
      "-m, --memfd <path>",
      "copy a file, or standard input for -, into sealed memory and pass that along; may be " +
        "repeated; --file and --memfd keep their order",
      attach("memfd"),
    );
  return attachments;
}
