/**
 * How many files another process has open, and may open, which can be changed while it runs; and how
 * many of some kinds this one has opened.
 */

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

/** Whether prlimit(1) is there. */
export const HAS_PRLIMIT = Bun.which("prlimit") !== null;

/** Why a test is skipped without it. */
export const NO_PRLIMIT = "prlimit(1) of util-linux is not installed";

/** The epoll instance and the eventfd of its event loop. */
const FDS_PER_WORKER = 2;

/** Something that runs. */
interface Process {
  readonly pid: number;
}

/**
 * Lets a broker open only so many files more, in the numbers that are free now, until the end of the
 * block. Those it has stay open.
 */
export function leaveFds({ pid }: Process, count: number): Disposable {
  const before = softLimitOf(pid);
  const used = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let limit = 0;
  for (let free = 0; used.has(limit) || free < count; limit += 1) if (!used.has(limit)) free += 1;
  setSoftLimit(pid, limit);
  return { [Symbol.dispose]: () => setSoftLimit(pid, before) };
}

/** Open fds of a process, counted in /proc/PID/fd, without those of its workers' loops. */
export function countFds({ pid }: Process): number {
  return readdirSync(`/proc/${pid}/fd`).length - countWorkers({ pid }) * FDS_PER_WORKER;
}

/**
 * Fds of some kinds that this process opens from now on. All of them are no count for a test: Bun's own
 * threads open and close pipes, eventfds and modules. And fds from before are none: the collector closes
 * what earlier tests have lost, and Bun the memory that was a child's standard input, when it suits them.
 */
export class OwnFds {
  readonly #kinds: RegExp;
  readonly #before: ReadonlySet<string>;

  /** @param kinds as readlink(2) of /proc/self/fd has them, such as "/memfd:name" or "socket:[123]" */
  constructor(kinds: RegExp) {
    this.#kinds = kinds;
    this.#before = new Set(this.#open());
  }

  /** How many that were opened since are open. */
  get count(): number {
    return this.#open().filter((fd) => !this.#before.has(fd)).length;
  }

  /** Each as its number and its file, since numbers are used again. */
  #open(): string[] {
    return readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        const path = `/proc/self/fd/${fd}`;
        return this.#kinds.test(readlinkSync(path)) ? [`${fd} ${statSync(path).ino}`] : [];
      } catch {
        // The one that read the directory.
        return [];
      }
    });
  }
}

/** Workers of a process: of a broker, threads that close fds. */
export function countWorkers({ pid }: Process): number {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).filter((id) => isWorker(`${tasks}/${id}`)).length;
}

function isWorker(task: string): boolean {
  try {
    return readFileSync(`${task}/comm`, "utf8") === "Worker\n";
  } catch {
    // It has just ended.
    return false;
  }
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
