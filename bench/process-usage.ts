/** What a process has used, from /proc: CPU time and memory. Linux only. */

import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks of proc(5) a second: USER_HZ, 100 on all architectures that seqbus knows. */
const TICKS_PER_SECOND = 100;

/** Fields of /proc/PID/stat after the command's closing parenthesis, counted from 0. */
const USER_TICKS_FIELD = 11;
const SYSTEM_TICKS_FIELD = 12;

/**
 * CPU time of a process so far, user and system.
 * @returns milliseconds, to the nearest 10
 * @see proc(5) /proc/pid/stat utime, stime
 */
export function readCpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[USER_TICKS_FIELD]) + Number(fields[SYSTEM_TICKS_FIELD]);
  return (ticks * 1000) / TICKS_PER_SECOND;
}

/**
 * The most memory that a process has had resident.
 * @returns MiB
 * @see proc(5) /proc/pid/status VmHWM
 */
export function readPeakRssMib(pid: number): number {
  return readStatusKib(pid, "VmHWM") / 1024;
}

/**
 * The memory that a process has resident now.
 * @returns KiB
 * @see proc(5) /proc/pid/status VmRSS
 */
export function readRssKib(pid: number): number {
  return readStatusKib(pid, "VmRSS");
}

function readStatusKib(pid: number, field: string): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
}

/**
 * CPU time of the main thread of a process so far: less than readCpuMs(), and exact.
 * @returns nanoseconds
 * @see Documentation/scheduler/sched-stats.rst of Linux, /proc/pid/schedstat
 */
export function readMainThreadCpuNs(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]);
}

/** How many fds a process has open. */
export function countOpenFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/**
 * How often each thread of a process has gone to sleep so far, and so been woken again, by its id.
 * @see proc(5) /proc/pid/status voluntary_ctxt_switches
 */
export function readWakeUps(pid: number): Map<string, number> {
  const threads = readdirSync(`/proc/${pid}/task`);
  return new Map(
    threads.map((thread) => {
      const text = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
      return [thread, Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(text)?.[1] ?? 0)];
    }),
  );
}

/** How often that was between two looks, threads that ended meanwhile left out. */
export function wakeUpsSince(earlier: Map<string, number>, later: Map<string, number>): number {
  let sum = 0;
  for (const [thread, count] of later) sum += count - (earlier.get(thread) ?? 0);
  return sum;
}
