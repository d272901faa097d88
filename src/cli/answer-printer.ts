/** Messages that somebody asked for, on standard output: answers, parts of them, lines of a channel. */

import type { Message } from "../client/message.ts";
import { ENCODING } from "../protocol/opcodes.ts";
import type { AnswerFormat } from "./answer-format.ts";
import { humanData, jsonFields, toJson } from "./message-lines.ts";
import { stdout, warn } from "./output.ts";
import { printable } from "./printable-text.ts";
import { describeFd } from "./received-file.ts";

/**
 * Prints one message, and lets go of it. Its files are described and not kept.
 * @returns once it is written
 */
export async function printAnswer(message: Message, format: AnswerFormat): Promise<void> {
  using answer = message;
  if (format === "bytes") stdout.write(answer.bytes);
  else if (format === "json") {
    const files = Array.from(answer.fds, describeFd);
    stdout.write(`{${jsonFields(answer)},"fds":${toJson(files)}}\n`);
  } else stdout.write(`${humanText(answer)}\n`);
  if (format !== "json" && answer.fds.length > 0) {
    warn(`${answer.fds.length} files came with it; --json says what they are`);
  }
  // A large body is let go behind this, so all of it must be written first.
  await stdout.drained();
}

/** Text keeps its lines, and everything else is one. */
function humanText(message: Message): string {
  if (message.encoding !== ENCODING.TEXT || message.byteLength === 0) return humanData(message);
  const text = new TextDecoder().decode(message.bytes);
  return text.replace(/\n$/, "").split("\n").map(printable).join("\n");
}
