/** `seqbus watch` and `seqbus wait`: who serves a service, and when somebody does. */

import { SERVICE_TIMEOUT_MS_DEFAULT } from "../../client/limits.ts";
import type { ServiceState } from "../../client/service-watch.ts";
import { TimeoutError } from "../../errors.ts";
import { awaitBus, connectTo } from "../bus-connection.ts";
import { EXIT } from "../exit-codes.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import { toJson } from "../message-lines.ts";
import { parsePositive } from "../number-option.ts";
import { stdout } from "../output.ts";
import { printable } from "../printable-text.ts";
import { StatusLines } from "../status-lines.ts";

/** Options of `watch`, as commander has them. */
export interface WatchCommandOptions {
  readonly socket?: string;
  readonly count?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly reconnect?: boolean;
}

/** Options of `wait`, as commander has them. */
export interface WaitCommandOptions {
  readonly socket?: string;
  readonly timeout?: string;
  readonly json?: boolean;
}

/**
 * Prints the state of a service, and each change.
 * @returns the exit code: 0 after --count lines, or when nobody reads the output any more
 * @throws all that connect() and watch() throw; ClosedError where the broker ends and --no-reconnect
 *   is given
 */
export async function runWatch(service: string, options: WatchCommandOptions): Promise<number> {
  const count = parsePositive(options.count, "--count") ?? Number.POSITIVE_INFINITY;
  const stop = watchSignals();
  const work = printStates(service, count, options);
  await Promise.race([settledBefore(stop, work), stdout.closed()]);
  return interruptedExitCode(stop) ?? EXIT.OK;
}

/**
 * Waits until somebody serves a service, and before that for a broker.
 * @throws {TimeoutError} TIMEOUT_CONNECT, TIMEOUT_SERVICE, and all that connect() and watch() throw
 */
export async function runWait(service: string, options: WaitCommandOptions): Promise<number> {
  const timeoutMs = parsePositive(options.timeout, "--timeout") ?? SERVICE_TIMEOUT_MS_DEFAULT;
  const stop = watchSignals();
  const waiting = waitOnBus(service, timeoutMs, stop, options);
  try {
    if (await settledBefore(stop, waiting)) await waiting;
    else waiting.catch(() => {});
  } catch (error) {
    // What the signal was aborted with is no error of the waiting.
    const isInterrupted = stop.aborted;
    if (!isInterrupted) throw error;
  }
  return interruptedExitCode(stop) ?? EXIT.OK;
}

async function waitOnBus(
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
  { socket, json }: WaitCommandOptions,
): Promise<void> {
  const startedAt = performance.now();
  await using bus = await awaitBus(socket, { timeoutMs, signal });
  const waitedMs = performance.now() - startedAt;
  try {
    const leftMs = Math.max(1, timeoutMs - waitedMs);
    const state = await bus.waitFor(service, { timeoutMs: leftMs, signal });
    if (json === true) stdout.write(`${jsonLine(state)}\n`);
  } catch (error) {
    throw withWholeTime(error, service, timeoutMs);
  }
}

/** An error that tells the time which was asked for, and not what was left of it for the service. */
function withWholeTime(error: unknown, service: string, timeoutMs: number): unknown {
  if (!(error instanceof TimeoutError) || error.code !== "TIMEOUT_SERVICE") return error;
  const message = `Nobody began to serve "${service}" within ${timeoutMs} ms`;
  return new TimeoutError("TIMEOUT_SERVICE", message, timeoutMs);
}

async function printStates(
  service: string,
  count: number,
  options: WatchCommandOptions,
): Promise<void> {
  const { socket, json, reconnect } = options;
  await using bus = await connectTo(socket, reconnect !== false);
  void new StatusLines(options).follow(bus);
  let printed = 0;
  for await (const state of await bus.watch(service)) {
    stdout.write(`${json === true ? jsonLine(state) : humanLine(state)}\n`);
    await stdout.ready();
    printed += 1;
    if (printed >= count) return;
  }
}

function jsonLine(state: ServiceState): string {
  return toJson(state);
}

function humanLine({ service, generation, owners, count }: ServiceState): string {
  const all = owners.map(({ uid, pid, exe }) => {
    const program = exe === undefined ? "" : ` exe=${printable(exe)}`;
    return `uid=${uid} pid=${pid}${program}`;
  });
  if (count > owners.length) all.push(`and ${count - owners.length} more`);
  return `${service}  generation=${generation}  ${count === 0 ? "nobody" : all.join(", ")}`;
}
