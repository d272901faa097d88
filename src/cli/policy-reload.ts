/**
 * Reading the policy of a running broker anew. Parsing thousands of rules takes half a second, and
 * a user directory may take longer, so a thread does it and hands over pieces of text that the
 * broker takes in between two packets.
 *
 * A process of its own would not do: its execve(2) closes what it inherited of the broker's, and
 * that waits for ever where a client sent a file of a file system that does not answer.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { StartSignal } from "../broker/closing/start-signal.ts";
import type { ThreadStarter } from "../broker/closing/thread-fds.ts";
import { serializePolicy } from "../broker/policy/policy-build.ts";
import { loadPolicySource } from "../broker/policy/policy-file.ts";
import { ConfigError } from "../errors.ts";
import { systemPolicyIo } from "./policy-source.ts";

/** Milliseconds that reading may take; then the old policy stays. */
const READ_TIMEOUT_MS = 60_000;

/** Milliseconds that its end is waited for: one that hangs in a directory of users does not end. */
const END_WAIT_MS = 1_000;

/** In the published package both files are bundles beside each other. */
const WORKER_NAME = import.meta.url.endsWith(".ts")
  ? "policy-reader-worker.ts"
  : "policy-reader-worker.js";

/** What the thread is handed. */
export interface PolicyReaderData {
  readonly path: string;
  /** Of a StartSignal. */
  readonly signal: SharedArrayBuffer;
}

/** What the thread says: the pieces of serializePolicy(), or why the files are refused. */
export type PolicyReadAnswer =
  | { readonly pieces: readonly string[] }
  | {
      readonly refused: {
        readonly message: string;
        readonly path?: string | undefined;
        readonly line?: number | undefined;
        readonly column?: number | undefined;
      };
    };

/**
 * Reads a policy on another thread.
 * @param path as the broker was given it
 * @param threads starts it
 * @returns the pieces of serializePolicy()
 * @throws {ConfigError} CONFIG_POLICY as loadPolicySource(), or where the thread failed or took too
 *   long, or could not be started
 */
export async function readPolicyPieces(
  path: string,
  threads: ThreadStarter,
): Promise<readonly string[]> {
  const answer = await askReader(path, threads);
  if ("pieces" in answer) return answer.pieces;
  const { message, ...place } = answer.refused;
  throw new ConfigError("CONFIG_POLICY", message, definedOf(place));
}

/** What the thread does. A file that is wrong is an answer; anything else ends the thread. */
export function answerPolicyRead(path: string): PolicyReadAnswer {
  try {
    return { pieces: serializePolicy(loadPolicySource(path, systemPolicyIo())) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { message, path: file, line, column } = error;
    return { refused: { message, path: file, line, column } };
  }
}

async function askReader(path: string, threads: ThreadStarter): Promise<PolicyReadAnswer> {
  const signal = new StartSignal();
  const make = () => makeReader({ path, signal: signal.memory });
  const worker = threads.start({ make, signal, opensFiles: true });
  if (worker === undefined) throw unread(path, "no file descriptor is left for a thread");
  const { promise, resolve, reject } = Promise.withResolvers<PolicyReadAnswer>();
  const fail = (why: string, cause?: unknown) => {
    reject(unread(path, why, cause));
  };
  worker.once("message", resolve);
  worker.once("error", (error: Error) => fail(error.message, error));
  worker.once("exit", () => fail("the reader ended without an answer"));
  const timer = setTimeout(
    () => fail(`the reader took longer than ${READ_TIMEOUT_MS} ms`),
    READ_TIMEOUT_MS,
  );
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    // Its fds may be the last ones, which whoever waits for the answer needs next.
    await Promise.race([worker.terminate(), sleep(END_WAIT_MS, undefined, { ref: false })]);
  }
}

/** @throws {ConfigError} CONFIG_POLICY where there is no memory for a thread */
function makeReader(workerData: PolicyReaderData): Worker {
  try {
    return new Worker(new URL(`./${WORKER_NAME}`, import.meta.url), { workerData });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw unread(workerData.path, why, cause);
  }
}

function unread(path: string, why: string, cause?: unknown): ConfigError {
  return new ConfigError("CONFIG_POLICY", `Cannot read ${path}: ${why}`, { path }, { cause });
}

function definedOf(place: {
  path?: string | undefined;
  line?: number | undefined;
  column?: number | undefined;
}): { path?: string; line?: number; column?: number } {
  const { path, line, column } = place;
  return {
    ...(path !== undefined && { path }),
    ...(line !== undefined && { line }),
    ...(column !== undefined && { column }),
  };
}
