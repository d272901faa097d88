/** `seqbus call`: calls a service, prints its answer or the parts of it, and saves their files. */

import type { Bus } from "../../client/bus.ts";
import type { CallOptions } from "../../client/call-options.ts";
import type { AnswerFormat } from "../answer-format.ts";
import { AnswerPrinter } from "../answer-printer.ts";
import { connectTo } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import { type InputOptions, openInput } from "../message-input.ts";
import { parsePositive } from "../number-option.ts";
import { stdout } from "../output.ts";
import { openSaver, type SaveOptions } from "../saved-files.ts";

const FILES_HINT = "--output json says what they are, --save-fds keeps them";

/** Options of the command, as commander has them. */
export interface CallCommandOptions extends InputOptions, SaveOptions {
  readonly socket?: string;
  readonly timeout?: string;
  readonly stream?: boolean;
  /** Default: as the options about DATA say. */
  readonly output?: AnswerFormat;
  /** The call outlives its broker. */
  readonly idempotent?: boolean;
}

/**
 * Calls. An interruption gives the call up, and the service is told.
 * @param data undefined or "-": read from standard input
 * @returns the exit code: 1 also where a file of the answer was to be saved and was not
 * @throws all that connect() and call() throw; what openSaver() throws
 */
export async function runCall(
  topic: string,
  data: string | undefined,
  options: CallCommandOptions,
): Promise<number> {
  const timeoutMs = parsePositive(options.timeout, "--timeout");
  using saver = openSaver(options);
  using input = await openInput(data, { ...options, jsonOutputOption: "--output json" });
  const stop = watchSignals();
  const { idempotent = false } = options;
  await using bus = await connectTo(options.socket, idempotent);
  const { encoding, fds } = input;
  const choices = {
    encoding,
    fds,
    signal: stop,
    idempotent,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  const printer = new AnswerPrinter(formatOf(options), FILES_HINT, saver);
  const work = printAnswers(bus, { topic, data: input.data, choices }, printer, options);
  const endings: Promise<unknown>[] = [settledBefore(stop, work)];
  // Files are saved whoever reads the rest.
  if (saver === undefined) endings.push(stdout.closed());
  await Promise.race(endings);
  return interruptedExitCode(stop) ?? (printer.hasLostFiles ? EXIT.FAILED : EXIT.OK);
}

/** What is called, and how. */
interface Call {
  readonly topic: string;
  readonly data: unknown;
  readonly choices: CallOptions;
}

async function printAnswers(
  bus: Bus,
  { topic, data, choices }: Call,
  printer: AnswerPrinter,
  { stream }: CallCommandOptions,
): Promise<void> {
  try {
    if (stream !== true) return await printer.print(await bus.call(topic, data, choices));
    for await (const part of bus.callStream(topic, data, choices)) {
      await printer.print(part);
      // Parts may come without end; the files of those that came are saved.
      if (stdout.isClosed) break;
    }
  } catch (error) {
    // What the signal was aborted with is no error of the call.
    if (choices.signal?.aborted !== true) throw error;
  }
}

function formatOf({ json, bytes, output }: CallCommandOptions): AnswerFormat {
  if (output !== undefined) return output;
  if (json === true) return "json";
  return bytes === true ? "bytes" : "human";
}
