/** `seqbus sub`: prints the messages of a topic or pattern, until it has enough or is ended. */

import type { Bus } from "../../client/bus.ts";
import { connect } from "../../client/connect.ts";
import type { Message } from "../../client/message.ts";
import type { ReceivedFd } from "../../client/received-fds.ts";
import type { StatusEvent } from "../../client/status.ts";
import { ArgumentError } from "../../errors.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import { EXIT, isOperatingError } from "../exit-codes.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import { humanLine, humanNotice, jsonFields, jsonNotice } from "../message-lines.ts";
import { stdout, warn } from "../output.ts";
import { describeFd, readFd, toBase64 } from "../received-file.ts";

const LINE_FEED = 0x0a;

/** Options of the command, as commander has them. */
export interface SubCommandOptions {
  readonly socket?: string;
  readonly count?: string;
  readonly json?: boolean;
  readonly bytes?: boolean;
  readonly catFds?: boolean;
  readonly group?: string;
  readonly overflow?: OverflowPolicy;
  readonly verbose?: boolean;
}

/**
 * Prints messages.
 * @returns the exit code: 0 after --count messages or when nobody reads the output any more, that
 *   of the signal after an interruption
 * @throws {ClosedError} where the broker ends, and all that connect() and subscribe() throw
 */
export async function runSub(pattern: string, options: SubCommandOptions): Promise<number> {
  const count = parseCount(options.count);
  const stop = watchSignals();
  const work = printMessages(pattern, count, options);
  await Promise.race([settledBefore(stop, work), stdout.closed()]);
  return interruptedExitCode(stop) ?? EXIT.OK;
}

async function printMessages(
  pattern: string,
  count: number,
  options: SubCommandOptions,
): Promise<void> {
  await using bus = await connect(options.socket === undefined ? {} : { path: options.socket });
  const { group, overflow } = options;
  const messages = await bus.subscribe(pattern, {
    ...(group !== undefined && { group }),
    ...(overflow !== undefined && { overflow }),
  });
  if (options.verbose === true) warn(`subscribed to ${pattern}`);
  const printer = new Printer(formatOf(options), options.catFds === true);
  void printNotices(bus, printer);
  let printed = 0;
  for await (const message of messages) {
    await printer.printMessage(message);
    printed += 1;
    if (printed >= count) return;
  }
}

/** What is printed of a message: a line for people, a line for programs, or its body alone. */
type Format = "human" | "json" | "bytes";

function formatOf({ json, bytes }: SubCommandOptions): Format {
  if (json === true) return "json";
  return bytes === true ? "bytes" : "human";
}

async function printNotices(bus: Bus, printer: Printer): Promise<void> {
  for await (const event of bus.status()) printer.printNotice(event);
}

/** Keeps messages and notices from running into one another: a file may take long to print. */
class Printer {
  readonly #format: Format;
  readonly #isCat: boolean;
  #isBusy = false;
  /** Lines that came while a message was being printed. */
  #waiting = "";

  constructor(format: Format, isCat: boolean) {
    this.#format = format;
    this.#isCat = isCat;
  }

  async printMessage(message: Message): Promise<void> {
    this.#isBusy = true;
    if (this.#format === "json") await printJson(message, this.#isCat);
    else if (this.#format === "human") await printHuman(message, this.#isCat);
    else await printBytes(message);
    message[Symbol.dispose]();
    this.#isBusy = false;
    stdout.write(this.#waiting);
    this.#waiting = "";
    await stdout.ready();
  }

  printNotice(event: StatusEvent): void {
    const words = humanNotice(event);
    if (words !== undefined) warn(words);
    const line = this.#format === "json" ? jsonNotice(event) : undefined;
    if (line === undefined) return;
    if (this.#isBusy) this.#waiting += `${line}\n`;
    else stdout.write(`${line}\n`);
  }
}

/** The body and nothing else; it is let go behind this, so all of it must be written first. */
async function printBytes(message: Message): Promise<void> {
  stdout.write(message.bytes);
  await stdout.drained();
}

async function printHuman(message: Message, isCat: boolean): Promise<void> {
  stdout.write(`${humanLine(message)}\n`);
  for (let index = 0; isCat && index < message.fds.length; index += 1) {
    using file = message.fds.take(index);
    await copyToOutput(file);
  }
}

/** What the file holds, as it is; a file that cannot be read is told, and no reason to end. */
async function copyToOutput(file: ReceivedFd): Promise<void> {
  let isLineOpen = false;
  try {
    for await (const piece of readFd(file.fd)) {
      stdout.write(piece);
      isLineOpen = piece.at(-1) !== LINE_FEED;
      await stdout.ready();
    }
  } catch (error) {
    warn(readFailure(error));
  }
  // The next message starts a line of its own.
  if (isLineOpen) stdout.write("\n");
}

/** One object a line; the contents of files are written as they are read. */
async function printJson(message: Message, isCat: boolean): Promise<void> {
  stdout.write(`{${jsonFields(message)},"fds":[`);
  for (let index = 0; index < message.fds.length; index += 1) {
    using file = message.fds.take(index);
    const description = JSON.stringify(describeFd(file.fd)).slice(0, -1);
    stdout.write(`${index === 0 ? "" : ","}${description}`);
    if (isCat) await writeBase64(file);
    stdout.write("}");
  }
  stdout.write("]}\n");
}

async function writeBase64(file: ReceivedFd): Promise<void> {
  stdout.write(',"bytesBase64":"');
  let failure: string | undefined;
  try {
    for await (const text of toBase64(readFd(file.fd))) {
      stdout.write(text);
      await stdout.ready();
    }
  } catch (error) {
    failure = readFailure(error);
  }
  stdout.write(failure === undefined ? '"' : `","error":${JSON.stringify(failure)}`);
}

function readFailure(error: unknown): string {
  if (!isOperatingError(error)) throw error;
  return `Cannot read a received file: ${error.message}`;
}

function parseCount(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const count = Number(text);
  if (/^[0-9]+$/.test(text) && Number.isSafeInteger(count) && count > 0) return count;
  const message = `Cannot print "${text}" messages: --count must be a whole number of 1 or more`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "count");
}
