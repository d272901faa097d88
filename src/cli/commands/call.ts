/** `seqbus call`: calls a service and prints its answer, or the parts of it. */

import type { Bus } from "../../client/bus.ts";
import type { CallOptions } from "../../client/call-options.ts";
import type { AnswerFormat } from "../answer-format.ts";
import { printAnswer } from "../answer-printer.ts";
import { connectTo } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import { type InputOptions, openInput } from "../message-input.ts";
import { parsePositive } from "../number-option.ts";
import { stdout } from "../output.ts";

/** Options of the command, as commander has them. */
export interface CallCommandOptions extends InputOptions {
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
 * @returns the exit code
 * @throws all that connect() and call() throw
 */
export async function runCall(
  topic: string,
  data: string | undefined,
  options: CallCommandOptions,
): Promise<number> {
  const timeoutMs = parsePositive(options.timeout, "--timeout");
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
  const work = printAnswers(bus, topic, input.data, choices, options);
  await Promise.race([settledBefore(stop, work), stdout.closed()]);
  return interruptedExitCode(stop) ?? EXIT.OK;
}

async function printAnswers(
  bus: Bus,
  topic: string,
  data: unknown,
  choices: CallOptions,
  { stream, ...options }: CallCommandOptions,
): Promise<void> {
  const format = formatOf(options);
  try {
    if (stream !== true) return await printAnswer(await bus.call(topic, data, choices), format);
    for await (const part of bus.callStream(topic, data, choices)) await printAnswer(part, format);
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
