/** How many files another process may open, changed while it runs. */

import { readdirSync } from "node:fs";
import type { SpawnedBroker } from "./spawned-broker.ts";

/** Whether prlimit(1) is there. */
export const HAS_PRLIMIT = Bun.which("prlimit") !== null;

/** Why a test is skipped without it. */
export const NO_PRLIMIT = "prlimit(1) of util-linux is not installed";

/**
 * Lets a broker open only so many files more, in the numbers that are free now, until the end of the
 * block. Those it has stay open.
 */
export function leaveFds({ pid }: SpawnedBroker, count: number): Disposable {
  const before = softLimitOf(pid);
  const used = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let limit = 0;
  for (let free = 0; used.has(limit) || free < count; limit += 1) if (!used.has(limit)) free += 1;
  setSoftLimit(pid, limit);
  return { [Symbol.dispose]: () => setSoftLimit(pid, before) };
}

/** RLIMIT_NOFILE of a process, the soft one. */
export function softLimitOf(pid: number): number {
  return Number(prlimit(pid, ["--nofile", "--noheadings", "--raw", "--output", "SOFT"]));
}

/** RLIMIT_NOFILE of a process, the hard one. */
export function hardLimitOf(pid: number): number {
  return Number(prlimit(pid, ["--nofile", "--noheadings", "--raw", "--output", "HARD"]));
}

function setSoftLimit(pid: number, limit: number): void {
  prlimit(pid, [`--nofile=${limit}:`]);
}

function prlimit(pid: number, options: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["prlimit", "--pid", `${pid}`, ...options]);
  if (exitCode !== 0) throw new Error(`prlimit failed: ${stderr}`);
  return stdout.toString().trim();
}
