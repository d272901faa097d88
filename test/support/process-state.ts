/** What the kernel says of another process. */

import { readFileSync } from "node:fs";
import { eventually } from "./eventually.ts";

/** Readings of one look at a process that sleeps: they take this one about a millisecond. */
const READINGS_ASLEEP = 50;

/** Waits until SIGSTOP has stopped a process: kill(2) returns before. proc(5), field 3 of stat. */
export async function isStopped(pid: number): Promise<void> {
  await eventually(() => stateOf(pid) === "T", `process ${pid} is stopped`);
}

/**
 * Waits until the main thread of a process sleeps, and does not wake while it is looked at again and
 * again. One that is woken at once whenever it would sleep is seen so once in some seconds, where the
 * garbage collector stops it: ask for it several times, with work for the process in between.
 */
export async function isAsleep(pid: number): Promise<void> {
  await eventually(() => sleepsOn(pid), `process ${pid} sleeps`);
}

/** Looks without letting anything else run here, so that a busy machine does not draw it out. */
function sleepsOn(pid: number): boolean {
  const sleeps = countSleeps(pid);
  for (let readings = 0; readings < READINGS_ASLEEP; readings += 1) {
    if (stateOf(pid) !== "S") return false;
  }
  return countSleeps(pid) === sleeps;
}

function stateOf(pid: number): string | undefined {
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.[0];
}

/** How often the main thread has gone to sleep. proc(5), status. */
function countSleeps(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^voluntary_ctxt_switches:\s*(\d+)$/m.exec(status)?.[1]);
}
