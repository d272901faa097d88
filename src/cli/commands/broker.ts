/** `seqbus broker`: serves a bus until a signal ends it. */

import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Broker, type BrokerOptions } from "../../broker/broker.ts";
import type { BrokerEvent } from "../../broker/events.ts";
import { loadPolicy } from "../../broker/policy/policy-file.ts";
import { brokerSocketPath, SYSTEM_SOCKET_PATH, userSocketPath } from "../../bus-address.ts";
import { ArgumentError, ConfigError } from "../../errors.ts";
import { brokerLogLine } from "../broker-log.ts";
import { EXIT } from "../exit-codes.ts";
import { watchSignals } from "../interruption.ts";
import { LogSink } from "../log-sink.ts";
import { readPolicyPieces } from "../policy-reload.ts";
import { systemPolicyIo } from "../policy-source.ts";

/** Milliseconds that the last lines of the log may take before the process ends without them. */
const LOG_DRAIN_MS = 200;

const SYSTEM_DIRECTORY_MODE = 0o755;
const USER_DIRECTORY_MODE = 0o700;

/** Options of the command, as commander has them. */
export interface BrokerCommandOptions {
  readonly socket?: string;
  readonly policy?: string;
  /** Octal digits. */
  readonly mode?: string;
  readonly verbose?: boolean;
}

/**
 * Runs a broker. `listening on PATH` on standard output says that clients may connect; the log
 * goes to standard error.
 * @returns the exit code, after SIGTERM or SIGINT; SIGHUP reads the policy anew, and is a signal to
 *   end like the others where there is none
 * @throws {ConfigError} CONFIG_POLICY, CONFIG_SOCKET_DIRECTORY, CONFIG_SOCKET_IN_USE
 * @throws {ArgumentError} ARGUMENT_SOCKET_PATH, ARGUMENT_OPTION
 */
export async function runBroker(options: BrokerCommandOptions): Promise<number> {
  const reloads = options.policy !== undefined;
  const stop = watchSignals(reloads ? ["SIGINT", "SIGTERM"] : undefined);
  const broker = openBroker(options);
  // What is wrong with the files is an event, and so in the log.
  if (reloads) process.on("SIGHUP", () => void broker.server.reloadPolicy().catch(ignoreConfig));
  if (stop.aborted) broker.server.stop();
  stop.addEventListener("abort", () => broker.server.stop());
  await broker.server.run();
  const logged = Promise.all([broker.log.drained(), broker.ready.drained()]);
  await Promise.race([logged, sleep(LOG_DRAIN_MS)]);
  return EXIT.OK;
}

function openBroker(options: BrokerCommandOptions): {
  server: Broker;
  log: LogSink;
  ready: LogSink;
} {
  const path = options.socket ?? prepareDefaultPath();
  const mode = options.mode === undefined ? undefined : parseMode(options.mode);
  const policy =
    options.policy === undefined ? undefined : loadPolicy(options.policy, systemPolicyIo());
  const log = new LogSink(process.stderr, 2);
  const ready = new LogSink(process.stdout, 1);
  const onEvent = (event: BrokerEvent): void => {
    const line = brokerLogLine(event, options.verbose === true);
    if (line !== undefined) log.write(`seqbus: ${line}`);
  };
  const policyPath = options.policy;
  const readPolicy = policyPath === undefined ? undefined : () => readPolicyPieces(policyPath);
  const server = new Broker({ path, policy, readPolicy, mode, onEvent } satisfies BrokerOptions);
  if (policy === undefined) {
    const uid = process.geteuid?.() ?? 0;
    log.write(`seqbus: no --policy: everything is allowed to uid ${uid}, nothing to anybody else`);
  }
  ready.write(`listening on ${path}`);
  return { server, log, ready };
}

/**
 * The path of a broker that was given none. Makes the last directory of the well-known paths,
 * since /run and XDG_RUNTIME_DIR are empty after each start of the machine.
 */
function prepareDefaultPath(): string {
  const path = brokerSocketPath(process.env, process.geteuid?.() ?? 0);
  if (path === undefined) {
    const message = "Cannot choose a socket: XDG_RUNTIME_DIR is not set; give --socket PATH";
    throw new ArgumentError("ARGUMENT_SOCKET_PATH", message, "socket");
  }
  if (path === SYSTEM_SOCKET_PATH) makeDirectory(dirname(path), SYSTEM_DIRECTORY_MODE);
  else if (path === userSocketPath(process.env)) makeDirectory(dirname(path), USER_DIRECTORY_MODE);
  return path;
}

/** Leaves a directory that is there as it is, and one whose parent is missing to the broker's check. */
function makeDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
    // The umask may have taken permissions away.
    chmodSync(path, mode);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EEXIST" && code !== "ENOENT") throw error;
  }
}

function ignoreConfig(error: unknown): void {
  if (!(error instanceof ConfigError)) throw error;
}

function parseMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  const message = `Cannot use mode "${text}": it must be three octal digits, such as 660`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "mode");
}
