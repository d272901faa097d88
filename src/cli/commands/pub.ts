/** `seqbus pub`: publishes one message, with open files if wished, and waits until it is routed. */

import type { Receipt } from "../../client/flushes.ts";
import { connectOnce } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { type InputOptions, openInput } from "../message-input.ts";
import { stdout, warn } from "../output.ts";

/** Options of the command, as commander has them. */
export interface PubCommandOptions extends InputOptions {
  readonly socket?: string;
}

/**
 * Publishes.
 * @param data undefined or "-": read from standard input
 * @returns the exit code
 * @throws {RejectedError} REJECTED_BY_POLICY, and everything else that connect(), publish() and
 *   flush() throw
 * @throws {LimitError} LIMIT_FILE_BYTES for a memfd
 * @throws {ArgumentError} ARGUMENT_OPTION where standard input is wanted twice
 */
export async function runPub(
  topic: string,
  data: string | undefined,
  options: PubCommandOptions,
): Promise<number> {
  using input = await openInput(data, options);
  await using bus = await connectOnce(options.socket);
  bus.publish(topic, input.data, input);
  report(await bus.flush());
  return EXIT.OK;
}

function report({ matched, delivered, dropped }: Receipt): void {
  if (dropped > 0) warn(`${dropped} of ${matched} subscribers missed it: their queues are full`);
  if (!stdout.isTerminal) return;
  const subscribers = delivered === 1 ? "1 subscriber" : `${delivered} subscribers`;
  stdout.write(`delivered to ${delivered === 0 ? "nobody: no one subscribes" : subscribers}\n`);
}
