/** `seqbus pub`: publishes one message, with open files if wished, and waits until it is routed. */

import type { PublishOptions } from "../../client/publisher.ts";
import { ArgumentError } from "../../errors.ts";
import type { Receipt } from "../../receipt.ts";
import { connectOnce } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { type InputOptions, openInput } from "../message-input.ts";
import { stdout, warn } from "../output.ts";

/** Options of the command, as commander has them. */
export interface PubCommandOptions extends InputOptions {
  readonly socket?: string;
  readonly retain?: boolean;
  /** Milliseconds. */
  readonly retainFor?: string;
  readonly clear?: boolean;
  readonly receipt?: boolean;
}

/**
 * Publishes, or with `clear` lets the broker forget the last value of the topic.
 * @param data undefined or "-": read from standard input
 * @returns the exit code
 * @throws {RejectedError} REJECTED_BY_POLICY, and everything else that connect(), publish() and
 *   flush() throw
 * @throws {LimitError} LIMIT_FILE_BYTES for a memfd
 * @throws {ArgumentError} ARGUMENT_OPTION where standard input is wanted twice, for a wrong
 *   `retainFor`, and for data where there is nothing to publish
 */
export async function runPub(
  topic: string,
  data: string | undefined,
  options: PubCommandOptions,
): Promise<number> {
  if (options.clear === true) return await clearRetained(topic, data, options);
  const retention = retentionOf(options);
  using input = await openInput(data, { ...options, jsonOutputOption: "--receipt" });
  await using bus = await connectOnce(options.socket);
  const { encoding, fds } = input;
  bus.publish(topic, input.data, { encoding, fds, ...retention });
  report(await bus.flush(), options);
  return EXIT.OK;
}

async function clearRetained(
  topic: string,
  data: string | undefined,
  { socket, receipt }: PubCommandOptions,
): Promise<number> {
  if (data !== undefined) {
    const message = "Cannot publish the data: --clear publishes nothing";
    throw new ArgumentError("ARGUMENT_OPTION", message, "clear");
  }
  await using bus = await connectOnce(socket);
  const isCleared = await bus.clearRetained(topic);
  if (receipt === true) stdout.write(`${JSON.stringify({ cleared: isCleared })}\n`);
  else if (stdout.isTerminal) stdout.write(isCleared ? "cleared\n" : "nothing was kept\n");
  return EXIT.OK;
}

function retentionOf(options: PubCommandOptions): Pick<PublishOptions, "retain" | "retainFor"> {
  const { retain = false, retainFor } = options;
  if (retainFor === undefined) return { retain };
  if (/^[0-9]+$/.test(retainFor)) return { retain: true, retainFor: Number(retainFor) };
  const message = `Cannot keep the message for "${retainFor}": --retain-for wants milliseconds`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "retain-for");
}

function report(summary: Receipt, { receipt }: PubCommandOptions): void {
  const { matched, delivered, dropped, lostLater, superseded } = summary;
  if (dropped > 0) warn(`${dropped} of ${matched} subscribers missed it: their queues are full`);
  const lost = lostLater + superseded;
  if (lost > 0) warn(`${lost} of ${delivered} subscribers missed it: it was lost in their queues`);
  if (receipt === true) return stdout.write(`${JSON.stringify(summary)}\n`);
  if (!stdout.isTerminal) return;
  const subscribers = delivered === 1 ? "1 subscriber" : `${delivered} subscribers`;
  stdout.write(`delivered to ${delivered === 0 ? "nobody: no one subscribes" : subscribers}\n`);
}
