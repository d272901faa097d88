/** `seqbus broker`: serves a bus until a signal ends it. */

import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Broker, type BrokerOptions } from "../../broker/broker.ts";
import type { BrokerEventListener } from "../../broker/events.ts";
import { loadPolicy } from "../../broker/policy/policy-file.ts";
import type { Policy } from "../../broker/policy/rules.ts";
import { brokerSocketPath, SYSTEM_SOCKET_PATH, userSocketPath } from "../../bus-address.ts";
import { ArgumentError, ConfigError } from "../../errors.ts";
import { closeStandardStreams } from "../../ffi/standard-streams.ts";
import { AuditFile } from "../audit/audit-file.ts";
import { AuditLog } from "../audit/audit-log.ts";
import { EventLog } from "../event-log.ts";
import { EXIT } from "../exit-codes.ts";
import { watchSignals } from "../interruption.ts";
import { LogSink } from "../log-sink.ts";
import { readPolicyPieces } from "../policy-reload.ts";
import { systemPolicyIo } from "../policy-source.ts";
import { applyRuntimeSettings } from "../runtime-settings.ts";

/** Milliseconds that the last lines of the log may take before the process ends without them. */
const LOG_DRAIN_MS = 200;

/** What stands for standard error in place of the path of an audit log. */
const AUDIT_ON_STDERR = "-";

const SYSTEM_DIRECTORY_MODE = 0o755;
const USER_DIRECTORY_MODE = 0o700;

/** Options of the command, as commander has them. */
export interface BrokerCommandOptions {
  readonly socket?: string;
  readonly policy?: string;
  /** Octal digits. */
  readonly mode?: string;
  readonly verbose?: boolean;
  /** Path of the audit log; "-" for standard error. */
  readonly audit?: string;
  readonly verify?: "connect" | "message";
  readonly allowUnmapped?: boolean;
}

/** Who is told of events. */
interface Logs {
  readonly ready: LogSink;
  readonly log: LogSink;
  readonly audit: AuditLog | undefined;
}

/**
 * Runs a broker. `listening on PATH` on standard output says that clients may connect; the log
 * goes to standard error.
 * @returns the exit code, after SIGTERM or SIGINT. SIGHUP reads the policy anew and opens the audit
 *   log anew, and is a signal to end like the others where there is neither
 * @throws {ConfigError} CONFIG_POLICY, CONFIG_SOCKET_DIRECTORY, CONFIG_SOCKET_IN_USE
 * @throws {ArgumentError} ARGUMENT_SOCKET_PATH, ARGUMENT_OPTION
 * @throws {SyscallError} where the audit log cannot be opened
 */
export async function runBroker(options: BrokerCommandOptions): Promise<number> {
  applyRuntimeSettings();
  const reloads = options.policy !== undefined || options.audit !== undefined;
  const stop = watchSignals(reloads ? ["SIGINT", "SIGTERM"] : undefined);
  const logs = openLogs(options);
  let opened: Broker | undefined;
  try {
    // Before anybody is told that the broker listens, and so may send a signal.
    if (reloads) process.on("SIGHUP", () => opened && reload(options, opened, logs));
    const server = openBroker(options, logs);
    opened = server;
    if (stop.aborted) server.stop();
    stop.addEventListener("abort", () => server.stop());
    await server.run();
  } finally {
    await finishLogs(logs);
    if (opened !== undefined && opened.closesPending > 0) closeStandardStreams();
  }
  return EXIT.OK;
}

function openLogs({ audit }: BrokerCommandOptions): Logs {
  const ready = new LogSink(process.stdout, 1);
  const log = new LogSink(process.stderr, 2);
  if (audit === undefined) return { ready, log, audit: undefined };
  if (audit === AUDIT_ON_STDERR) return { ready, log, audit: new AuditLog(log) };
  const file = new AuditFile(audit, (message) => log.write(`seqbus: ${message}`));
  return { ready, log, audit: new AuditLog(file) };
}

/** Waits for the last lines, but not for a reader who does not read. */
async function finishLogs({ ready, log, audit }: Logs): Promise<void> {
  if (audit !== undefined) await Promise.race([audit.drained(), sleep(LOG_DRAIN_MS)]);
  const lost = audit?.dropped ?? 0;
  if (lost > 0) log.write(`seqbus: the audit log has lost ${lost} events`);
  await Promise.race([Promise.all([log.drained(), ready.drained()]), sleep(LOG_DRAIN_MS)]);
}

function openBroker(options: BrokerCommandOptions, logs: Logs): Broker {
  const path = choosePath(options.socket);
  prepareDirectory(path);
  const mode = options.mode === undefined ? undefined : parseMode(options.mode);
  const policyPath = options.policy;
  const policy = policyPath === undefined ? undefined : loadFirstPolicy(policyPath, logs.audit);
  const readPolicy = policyPath === undefined ? undefined : readerOf(policyPath);
  const { verify, allowUnmapped } = options;
  const onEvent = eventListener(options, logs);
  const server = new Broker({
    path,
    policy,
    readPolicy,
    mode,
    verify,
    allowUnmapped,
    onEvent,
  } satisfies BrokerOptions);
  if (policy === undefined) {
    const uid = process.geteuid?.() ?? 0;
    logs.log.write(
      `seqbus: no --policy: everything is allowed to uid ${uid}, nothing to anybody else`,
    );
  }
  logs.ready.write(`listening on ${path}`);
  return server;
}

function readerOf(policyPath: string): NonNullable<BrokerOptions["readPolicy"]> {
  return (threads) => readPolicyPieces(policyPath, threads);
}

/** Loads the policy that the broker starts with; whether it did is an event, too. */
function loadFirstPolicy(path: string, audit: AuditLog | undefined): Policy {
  try {
    const policy = loadPolicy(path, systemPolicyIo());
    audit?.record({ type: "policy-loaded", policy: policy.path, rules: policy.rules.length });
    return policy;
  } catch (error) {
    if (error instanceof ConfigError) {
      audit?.record({ type: "policy-refused", message: error.message });
    }
    throw error;
  }
}

function eventListener(
  { verbose, audit: auditPath }: BrokerCommandOptions,
  { log, audit }: Logs,
): BrokerEventListener {
  // Standard error does not need to say everything twice.
  const isAuditOnly = auditPath === AUDIT_ON_STDERR;
  const events = isAuditOnly
    ? undefined
    : new EventLog(log, verbose === true, () => performance.now());
  return (event) => {
    audit?.record(event);
    events?.record(event);
  };
}

function reload({ policy }: BrokerCommandOptions, server: Broker, { audit }: Logs): void {
  audit?.reopen();
  // What is wrong with the files is an event, and so in the log.
  if (policy !== undefined) void server.reloadPolicy().catch(ignoreConfig);
}

/** @param named the value of --socket */
function choosePath(named: string | undefined): string {
  const path = named ?? brokerSocketPath(process.env, effectiveUid());
  if (path !== undefined) return path;
  const message = "Cannot choose a socket: XDG_RUNTIME_DIR is not set; give --socket PATH";
  throw new ArgumentError("ARGUMENT_SOCKET_PATH", message, "socket");
}

/**
 * Makes the last directory of the well-known paths, also where somebody names them: /run and
 * XDG_RUNTIME_DIR are empty after each start of the machine.
 */
function prepareDirectory(path: string): void {
  const isSystem = path === SYSTEM_SOCKET_PATH && effectiveUid() === 0;
  if (isSystem) makeDirectory(dirname(path), SYSTEM_DIRECTORY_MODE);
  else if (path === userSocketPath(process.env)) makeDirectory(dirname(path), USER_DIRECTORY_MODE);
}

function effectiveUid(): number {
  return process.geteuid?.() ?? 0;
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
