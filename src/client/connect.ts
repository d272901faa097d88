/** From a socket path to an open bus, at once or when a broker comes. */

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { brokerSocketPath, clientSocketPaths, SYSTEM_SOCKET_PATH } from "../bus-address.ts";
import { TimeoutError } from "../errors.ts";
import { Bus } from "./bus.ts";
import type { TopicMap } from "./bus-options.ts";
import { dial } from "./dial.ts";
import { CONNECT_TIMEOUT_MS_DEFAULT } from "./limits.ts";
import { Link } from "./link.ts";
import {
  BackOff,
  isFinal,
  planReconnect,
  type ReconnectOptions,
  type ReconnectPlan,
} from "./reconnection.ts";

/** Choices for connect(). */
export interface ConnectOptions {
  /** The broker's socket. Default: SEQBUS_SOCKET, else the user's bus, else the system's. */
  readonly path?: string;
  /**
   * Milliseconds until connecting is given up; default 5,000. With waitForBroker it bounds the
   * waiting, and Infinity is allowed.
   */
  readonly timeoutMs?: number;
  /** Aborting gives up connecting. */
  readonly signal?: AbortSignal;
  /** The uid that the broker must have, where neither root, oneself nor the directory's owner. */
  readonly brokerUid?: number;
  /**
   * What happens when the connection is lost later. Default true: it is made again, and all that
   * was open is opened again; status() tells. False: the bus ends. An object chooses how.
   */
  readonly reconnect?: boolean | ReconnectOptions;
  /** True: nobody listening is a reason to try again. Default false. */
  readonly waitForBroker?: boolean;
}

/**
 * Connects to a broker.
 * @throws {SyscallError} ENOENT or ECONNREFUSED where no broker listens, EACCES where the mode of the
 *   socket or of a directory forbids it, with the path; EMFILE
 * @throws {ArgumentError} ARGUMENT_SOCKET_PATH, ARGUMENT_OPTION
 * @throws {RejectedError} REJECTED_BROKER where a stranger listens there; REJECTED_NOT_OWNER
 * @throws {LimitError} LIMIT_CONNECTIONS; LIMIT_QUEUED_FDS where this process may hold no more fds
 * @throws {ProtocolError} PROTOCOL_VERSION where the broker is of another generation
 * @throws {TimeoutError} TIMEOUT_CONNECT; with waitForBroker its cause is what the last attempt met
 * @throws {ClosedError} CLOSED_BY_PEER where the broker hung up without a word
 * @example
 * await using bus = await connect();
 */
export async function connect<Topics extends TopicMap = TopicMap>(
  options: ConnectOptions = {},
): Promise<Bus<Topics>> {
  options.signal?.throwIfAborted();
  const plan = planReconnect(options.reconnect);
  const link =
    options.waitForBroker === true
      ? await openWhenReady(options, plan)
      : await openNow(linkTo(options.path ?? defaultPath(), options, plan), options);
  return new Bus<Topics>(link);
}

/** @param plan for a connection that is lost later; attempts have the default time-out then */
function linkTo(
  path: string,
  { brokerUid }: ConnectOptions,
  plan: ReconnectPlan | undefined,
): Link {
  const fixed = { path, brokerUid, timeoutMs: CONNECT_TIMEOUT_MS_DEFAULT };
  return new Link({
    path,
    plan,
    dial: (events, attempt) => dial({ ...fixed, ...attempt }, events),
  });
}

async function openNow(link: Link, options: ConnectOptions): Promise<Link> {
  const { timeoutMs = CONNECT_TIMEOUT_MS_DEFAULT, signal } = options;
  await link.open({ signal, timeoutMs });
  return link;
}

/** Tries until somebody listens. A path that was not given may be another one each time. */
async function openWhenReady(
  options: ConnectOptions,
  plan: ReconnectPlan | undefined,
): Promise<Link> {
  const { timeoutMs = CONNECT_TIMEOUT_MS_DEFAULT, signal } = options;
  const backOff = new BackOff(plan && { ...plan, maxAttempts: Number.POSITIVE_INFINITY });
  const startedAt = performance.now();
  for (;;) {
    const path = options.path ?? defaultPath();
    const leftMs = timeoutMs - (performance.now() - startedAt);
    // The last one is made when the time is up: it finds a broker that answers at once.
    const attemptMs = Math.max(1, Math.min(leftMs, CONNECT_TIMEOUT_MS_DEFAULT));
    try {
      const link = linkTo(path, options, plan);
      await link.open({ signal, timeoutMs: attemptMs });
      return link;
    } catch (error) {
      signal?.throwIfAborted();
      if (isFinal(error)) throw error;
      const elapsed = performance.now() - startedAt;
      if (elapsed >= timeoutMs) throw nobodyCame(path, timeoutMs, elapsed, error);
      const delayMs = Math.min(backOff.nextDelayMs() ?? 0, timeoutMs - elapsed);
      await sleep(Math.ceil(delayMs), undefined, signal === undefined ? {} : { signal });
    }
  }
}

function nobodyCame(
  path: string,
  timeoutMs: number,
  elapsedMs: number,
  cause: unknown,
): TimeoutError {
  const message = `Cannot connect to ${path}: no broker came within ${timeoutMs} ms`;
  return new TimeoutError("TIMEOUT_CONNECT", message, Math.round(elapsedMs), { cause });
}

/** The first default path that exists; else the one where a broker of this user would listen. */
function defaultPath(): string {
  const existing = clientSocketPaths(process.env).find((path) => existsSync(path));
  const ownPath = brokerSocketPath(process.env, process.geteuid?.() ?? 0);
  return existing ?? ownPath ?? SYSTEM_SOCKET_PATH;
}
