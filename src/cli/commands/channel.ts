/** `seqbus channel`: a private channel between two terminals, or two scripts. */

import type { Bus } from "../../client/bus.ts";
import type { Channel } from "../../client/channel.ts";
import { LimitError } from "../../errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import { AnswerPrinter } from "../answer-printer.ts";
import { connectOnce } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import { stdout, warn } from "../output.ts";

const FILES_HINT = "--json says what they are";

/** Options of the command, as commander has them. */
export interface ChannelCommandOptions {
  readonly socket?: string;
  readonly serve?: boolean;
  readonly keep?: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/**
 * Sends lines and prints messages, until one of both sides closes.
 * @returns the exit code
 * @throws what ended the channel, and all that connect(), openChannel() and serve() throw
 */
export async function runChannel(topic: string, options: ChannelCommandOptions): Promise<number> {
  const stop = watchSignals();
  const work = talk(topic, options);
  await Promise.race([settledBefore(stop, work), stdout.closed()]);
  return interruptedExitCode(stop) ?? EXIT.OK;
}

async function talk(topic: string, options: ChannelCommandOptions): Promise<void> {
  const { socket, serve, keep = serve, json, verbose } = options;
  await using bus = await connectOnce(socket);
  await using channel =
    serve === true ? await acceptOne(bus, topic, verbose) : await bus.openChannel(topic);
  const { uid, pid } = channel.peer;
  if (verbose === true) warn(`connected to uid=${uid} pid=${pid}`);
  const sending = sendLines(channel, keep === true);
  // Where sending fails the channel has ended, and says why below.
  sending.catch(() => {});
  const printer = new AnswerPrinter(json === true ? "json" : "human", FILES_HINT);
  for await (const message of channel) await printer.print(message);
  const error = await channel.closed();
  if (error !== undefined) throw error;
}

/** Serves until somebody has opened a channel; it goes on without the service. */
async function acceptOne(bus: Bus, topic: string, verbose: boolean | undefined): Promise<Channel> {
  const { promise, resolve } = Promise.withResolvers<Channel>();
  let isTaken = false;
  const onChannel = (channel: Channel) => {
    if (isTaken) return void channel.close();
    isTaken = true;
    resolve(channel);
  };
  const refuse = () => {
    throw new Error("This service takes channels alone");
  };
  await using service = await bus.serve(topic, refuse, { onChannel });
  if (verbose === true) warn(`waiting for a channel on ${topic}`);
  return await Promise.race([promise, failureOf(service.closed())]);
}

/** Rejects with the reason of an end. */
async function failureOf(ended: Promise<Error | undefined>): Promise<never> {
  const error = await ended;
  if (error !== undefined) throw error;
  return await new Promise(() => {});
}

async function sendLines(channel: Channel, keepsOpen: boolean): Promise<void> {
  for await (const line of linesOf(Bun.stdin.stream())) {
    if (!channel.send(line)) await channel.drained();
  }
  if (!keepsOpen) await channel.close();
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of stream) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
    if (rest.length <= LARGE_BODY_BYTES_MAX) continue;
    const limit = LARGE_BODY_BYTES_MAX;
    const message = `Cannot send standard input: a line has more than ${limit} characters`;
    throw new LimitError("LIMIT_MESSAGE_BYTES", message, { limit, actual: rest.length });
  }
  if (rest !== "") yield rest;
}
