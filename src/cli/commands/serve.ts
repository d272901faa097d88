/** `seqbus serve`: serves a service by a shell command, until it is ended. */

import type { Service } from "../../client/service.ts";
import type { PreparedReply, ServiceRequest } from "../../client/service-request.ts";
import type { IfOwned } from "../../protocol/words.ts";
import { connectTo } from "../bus-connection.ts";
import { runCommand } from "../exec-handler.ts";
import { EXIT } from "../exit-codes.ts";
import { interruptedExitCode, settledBefore, watchSignals } from "../interruption.ts";
import { toJson } from "../message-lines.ts";
import { parsePositive } from "../number-option.ts";
import { stdout } from "../output.ts";
import { StatusLines } from "../status-lines.ts";

/** Commands that run at a time, unless told otherwise. Guess: more would not be done any sooner. */
const CONCURRENCY_DEFAULT = 8;

/** Options of the command, as commander has them. */
export interface ServeCommandOptions {
  readonly socket?: string;
  /** For `sh -c`. */
  readonly exec: string;
  readonly shared?: boolean;
  readonly ifOwned: IfOwned;
  readonly concurrency?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
  readonly reconnect?: boolean;
}

/**
 * Serves. The first signal lets commands that run come to their end, the second does not.
 * @returns the exit code
 * @throws {RejectedError} REJECTED_SERVICE_OWNED, also where somebody takes it over later
 * @throws all that connect() and serve() throw; ClosedError where the broker ends and --no-reconnect
 *   is given
 */
export async function runServe(topic: string, options: ServeCommandOptions): Promise<number> {
  const { socket, exec, shared = false, ifOwned, json } = options;
  const concurrency = parsePositive(options.concurrency, "--concurrency") ?? CONCURRENCY_DEFAULT;
  const stop = watchSignals();
  await using bus = await connectTo(socket, options.reconnect !== false);
  const handler = async (request: ServiceRequest) => {
    const startedAt = performance.now();
    return await tell(request, startedAt, runCommand(exec, request), json === true);
  };
  await using service = await bus.serve(topic, handler, { shared, ifOwned, concurrency });
  const lines = new StatusLines(options);
  void tellTurns(service, lines);
  void lines.follow(bus);
  const ended = service.closed();
  if (await settledBefore(stop, ended)) {
    const error = await ended;
    if (error !== undefined) throw error;
  }
  return interruptedExitCode(stop) ?? EXIT.OK;
}

async function tellTurns(service: Service, lines: StatusLines): Promise<void> {
  const events = service.status();
  tellTurn(service, lines);
  for await (const event of events) {
    // One that is served again is told as gained, where it is.
    const waits = event.type === "restored" && !event.isOwner;
    if (waits || event.type === "owner-gained") tellTurn(service, lines);
  }
}

function tellTurn({ topic, isOwner, generation }: Service, lines: StatusLines): void {
  const type = isOwner ? "serving" : "waiting";
  const words = isOwner ? `serving ${topic}` : `waiting in line for ${topic}`;
  lines.tellDetail({ type, service: topic, generation }, words);
}

/** Waits for an answer, and with --json tells of it when it is there. */
async function tell(
  request: ServiceRequest,
  startedAt: number,
  work: Promise<PreparedReply>,
  isJson: boolean,
): Promise<PreparedReply> {
  let code = "OK";
  try {
    return await work;
  } catch (error) {
    code = request.signal.aborted ? codeOf(request.signal.reason) : codeOf(error);
    throw error;
  } finally {
    const ms = Math.round(performance.now() - startedAt);
    const { topic, sender, byteLength } = request;
    if (isJson) stdout.write(`${toJson({ topic, sender, bytes: byteLength, code, ms })}\n`);
  }
}

function codeOf(error: unknown): string {
  const hasCode = error instanceof Error && "code" in error && typeof error.code === "string";
  return hasCode ? (error.code as string) : "FAILED";
}
