/** `seqbus sub`: prints the messages of a topic or pattern, until it has enough or is ended. */

import type { Bus } from "../../client/bus.ts";
import type { Message } from "../../client/message.ts";
import type { ReceivedFd } from "../../client/received-fds.ts";
import type { Subscription } from "../../client/subscription.ts";
import { GapError } from "../../errors.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import { connectTo } from "../bus-connection.ts";
import { EXIT, isOperatingError } from "../exit-codes.ts";
import { type FileLimits, piecesOf } from "../file-pieces.ts";
import type { FileSaver } from "../file-saver.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import {
  countOf,
  humanLine,
  humanNotice,
  jsonFields,
  jsonNotice,
  type Notice,
} from "../message-lines.ts";
import { parsePositive } from "../number-option.ts";
import { stdout, warn } from "../output.ts";
import { describeFd, toBase64 } from "../received-file.ts";
import { fileLimits, notSavedWords, openSaver, type SaveOptions, saveAll } from "../saved-files.ts";
import { StatusLines } from "../status-lines.ts";

const LINE_FEED = 0x0a;

/** Options of the command, as commander has them. */
export interface SubCommandOptions extends SaveOptions {
  readonly socket?: string;
  readonly count?: string;
  readonly json?: boolean;
  readonly bytes?: boolean;
  readonly catFds?: boolean;
  readonly group?: string;
  readonly overflow?: OverflowPolicy;
  readonly verbose?: boolean;
  /** False where --no-reconnect is given. */
  readonly reconnect?: boolean;
}

/**
 * Prints messages.
 * @returns the exit code: 0 after --count messages or when nobody reads the output any more, that
 *   of the signal after an interruption
 * @throws {ClosedError} where the broker ends and --no-reconnect is given, and all that connect() and subscribe() throw
 */
export async function runSub(pattern: string, options: SubCommandOptions): Promise<number> {
  const count = parsePositive(options.count, "--count") ?? Number.POSITIVE_INFINITY;
  const limits = fileLimits(options);
  using saver = openSaver(options);
  const stop = watchSignals();
  const work = printMessages(pattern, count, new Printer(options, limits, saver), options);
  await Promise.race([settledBefore(stop, work), stdout.closed()]);
  return interruptedExitCode(stop) ?? EXIT.OK;
}

async function printMessages(
  pattern: string,
  count: number,
  printer: Printer,
  options: SubCommandOptions,
): Promise<void> {
  await using bus = await connectTo(options.socket, options.reconnect !== false);
  const { group, overflow } = options;
  const messages = await bus.subscribe(pattern, {
    gapErrors: true,
    ...(group !== undefined && { group }),
    ...(overflow !== undefined && { overflow }),
  });
  const lines = new StatusLines(options);
  lines.tellDetail({ type: "subscribed", pattern }, `subscribed to ${pattern}`);
  void printNotices(bus, printer, lines);
  for (let printed = 0; printed < count; printed += 1) {
    const message = await nextMessage(messages, printer);
    if (message === undefined) return;
    await printer.printMessage(message);
  }
}

/** The next message; what is missing before it is printed. */
async function nextMessage(messages: Subscription, printer: Printer): Promise<Message | undefined> {
  for (;;) {
    try {
      return (await messages.next()).value;
    } catch (error) {
      if (!(error instanceof GapError)) throw error;
      await printer.printGap(error);
    }
  }
}

/** What is printed of a message: a line for people, a line for programs, or its body alone. */
type Format = "human" | "json" | "bytes";

function formatOf({ json, bytes }: SubCommandOptions): Format {
  if (json === true) return "json";
  return bytes === true ? "bytes" : "human";
}

async function printNotices(bus: Bus, printer: Printer, lines: StatusLines): Promise<void> {
  for await (const event of bus.status()) {
    lines.tellConnection(event);
    // Gaps are printed where they are: the iteration rejects there.
    if (event.type === "fds-lost") printer.printLostFiles(event);
  }
}

/** Keeps messages and notices from running into one another: a file may take long to print. */
class Printer {
  readonly #format: Format;
  readonly #isCat: boolean;
  readonly #limits: FileLimits;
  readonly #saver: FileSaver | undefined;
  #isBusy = false;
  /** Lines that came while a message was being printed. */
  #waiting = "";

  /** @param limits of files that are printed @param saver where files go; borrowed */
  constructor(options: SubCommandOptions, limits: FileLimits, saver: FileSaver | undefined) {
    this.#format = formatOf(options);
    this.#isCat = options.catFds === true;
    this.#limits = limits;
    this.#saver = saver;
  }

  async printMessage(message: Message): Promise<void> {
    this.#isBusy = true;
    if (message.fds.length > 0) this.#saver?.nextMessage();
    if (this.#format === "json") await this.#printJson(message);
    else if (this.#format === "human") await this.#printHuman(message);
    else await this.#printBytes(message);
    message[Symbol.dispose]();
    this.#isBusy = false;
    stdout.write(this.#waiting);
    this.#waiting = "";
    await stdout.ready();
  }

  /** Messages are missing here. */
  async printGap({ topic, count, reason }: GapError): Promise<void> {
    const gap = { type: "gap", topic, count, reason } as const;
    if (this.#format === "json") stdout.write(`${jsonNotice(gap)}\n`);
    // On a terminal both streams are one, and this must not overtake what is printed already.
    await stdout.drained();
    warn(humanNotice(gap));
  }

  printLostFiles(lost: Notice): void {
    warn(humanNotice(lost));
    if (this.#format !== "json") return;
    const line = `${jsonNotice(lost)}\n`;
    if (this.#isBusy) this.#waiting += line;
    else stdout.write(line);
  }

  /** The body and nothing else; it is let go behind this, so all of it must be written first. */
  async #printBytes(message: Message): Promise<void> {
    stdout.write(message.bytes);
    for (const { index, outcome } of await saveAll(message, this.#saver)) {
      if ("notSaved" in outcome) warn(notSavedWords(index, outcome.notSaved));
    }
    await stdout.drained();
  }

  async #printHuman(message: Message): Promise<void> {
    stdout.write(`${humanLine(message)}\n`);
    if (this.#isCat) for (const file of message.fds) await copyToOutput(file, this.#limits);
    for (const { index, outcome } of await saveAll(message, this.#saver)) {
      if ("notSaved" in outcome) warn(notSavedWords(index, outcome.notSaved));
      else stdout.write(`  ${outcome.saved}  ${countOf(outcome.savedBytes, "byte")}\n`);
    }
  }

  /** One object a line; the contents of files are written as they are read. */
  async #printJson(message: Message): Promise<void> {
    stdout.write(`{${jsonFields(message)},"fds":[`);
    for (let index = 0; index < message.fds.length; index += 1) {
      using file = message.fds.take(index);
      const description = describeFd(file);
      const outcome = (await this.#saver?.save(file, index)) ?? {};
      const json = JSON.stringify({ ...description, ...outcome }).slice(0, -1);
      stdout.write(`${index === 0 ? "" : ","}${json}`);
      if (this.#isCat) await writeBase64(file, this.#limits);
      stdout.write("}");
    }
    stdout.write("]}\n");
  }
}

/** What the file holds, as it is; a file that cannot be read is told, and no reason to end. */
async function copyToOutput(file: ReceivedFd, limits: FileLimits): Promise<void> {
  let isLineOpen = false;
  try {
    for await (const piece of piecesOf(file, limits)) {
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

async function writeBase64(file: ReceivedFd, limits: FileLimits): Promise<void> {
  stdout.write(',"bytesBase64":"');
  let failure: string | undefined;
  try {
    for await (const text of toBase64(piecesOf(file, limits))) {
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
  return error.message;
}
