/** Messages that somebody asked for, on standard output: answers, parts of them, lines of a channel. */

import type { Message } from "../client/message.ts";
import { ENCODING } from "../protocol/opcodes.ts";
import type { AnswerFormat } from "./answer-format.ts";
import type { FileSaver } from "./file-saver.ts";
import { countOf, humanData, jsonFields, toJson, withheldWords } from "./message-lines.ts";
import { stdout, warn } from "./output.ts";
import { printable } from "./printable-text.ts";
import { describeFd } from "./received-file.ts";
import { notSavedWords, saveAll } from "./saved-files.ts";

/** Prints answers, and saves their files if wished. */
export class AnswerPrinter {
  readonly #format: AnswerFormat;
  readonly #filesHint: string;
  readonly #saver: FileSaver | undefined;
  #hasLostFiles = false;

  /**
   * @param filesHint what the command has for files, said where some came and none is kept
   * @param saver where files go; borrowed. Without it they are described and not kept
   */
  constructor(format: AnswerFormat, filesHint: string, saver?: FileSaver) {
    this.#format = format;
    this.#filesHint = filesHint;
    this.#saver = saver;
  }

  /** True where a file should have been saved, and was not. */
  get hasLostFiles(): boolean {
    return this.#hasLostFiles;
  }

  /**
   * Prints one message, and lets go of it.
   * @returns once it is written, and its files are saved
   */
  async print(message: Message): Promise<void> {
    using answer = message;
    if (answer.fds.length > 0) this.#saver?.nextMessage();
    if (answer.fdsWithheld && this.#saver !== undefined) this.#hasLostFiles = true;
    if (this.#format === "json") await this.#printJson(answer);
    else await this.#printBody(answer);
    // A large body is let go behind this, so all of it must be written first.
    await stdout.drained();
  }

  async #printJson(answer: Message): Promise<void> {
    const files: object[] = [];
    for (let index = 0; index < answer.fds.length; index += 1) {
      using file = answer.fds.take(index);
      const description = describeFd(file);
      const outcome = await this.#saver?.save(file, index);
      if (outcome !== undefined && "notSaved" in outcome) this.#hasLostFiles = true;
      files.push({ ...description, ...outcome });
    }
    stdout.write(`{${jsonFields(answer)},"fds":${toJson(files)}}\n`);
  }

  /** Standard output has the answer alone; what is said of its files goes beside it. */
  async #printBody(answer: Message): Promise<void> {
    if (this.#format === "bytes") stdout.write(answer.bytes);
    else stdout.write(`${humanText(answer)}\n`);
    // On a terminal both streams are one, and this must not overtake the answer.
    await stdout.drained();
    const withheld = withheldWords(answer);
    if (withheld !== undefined) warn(`It came without its files: ${withheld}`);
    if (this.#saver !== undefined) await this.#saveFiles(answer, this.#saver);
    else if (answer.fds.length > 0) {
      const files = countOf(answer.fds.length, "file");
      warn(`${files} came with it; ${this.#filesHint}`);
    }
  }

  async #saveFiles(answer: Message, saver: FileSaver): Promise<void> {
    for (const { index, outcome } of await saveAll(answer, saver)) {
      if ("notSaved" in outcome) {
        this.#hasLostFiles = true;
        warn(notSavedWords(index, outcome.notSaved));
      } else if (this.#format === "human") {
        warn(`File ${index} is saved: ${outcome.saved}, ${countOf(outcome.savedBytes, "byte")}`);
      }
    }
  }
}

/** Text keeps its lines, and everything else is one. */
function humanText(message: Message): string {
  if (message.encoding !== ENCODING.TEXT || message.byteLength === 0) return humanData(message);
  const text = new TextDecoder().decode(message.bytes);
  return text.replace(/\n$/, "").split("\n").map(printable).join("\n");
}
