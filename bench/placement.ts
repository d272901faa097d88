/**
 * Where the processes of a round trip run. Half of what it takes is waking who sleeps, and that takes
 * longer on another core: so who happens to share a core with whom decides more than the relay does.
 *
 * A process inherits where it may run from the thread that starts it: so this thread goes there for
 * as long as that takes.
 */

import { dlopen } from "bun:ffi";
import { readFileSync } from "node:fs";
import { PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import { lastErrno, syscallError } from "../src/ffi/syscall-result.ts";

/** Left to the kernel; all on one core; the relay on one and its clients on another. */
export type Placement = "unpinned" | "one core" | "relay apart";

/** Cores that processes may run on. */
export interface PlacedCores {
  readonly relay: readonly number[];
  readonly clients: readonly number[];
}

/** A mask of 1,024 cores, as glibc's cpu_set_t. */
const MASK_BYTES = 128;

const libc = dlopen("libc.so.6", {
  sched_setaffinity: { args: ["i32", "u64", "ptr"], returns: "i32" },
}).symbols;

const ALLOWED = readAllowedCores(readFileSync("/proc/self/status", "utf8"));

/** Cores that this process may use. */
export function coreCount(): number {
  return ALLOWED.length;
}

/** Whether a placement says something on this machine: on one core all are the same. */
export function canPlace(placement: Placement): boolean {
  return placement === "unpinned" || ALLOWED.length > 1;
}

/** The cores of a placement: the first and the last, since neighbours may be halves of one. */
export function coresOf(placement: Placement): PlacedCores {
  const first = ALLOWED.slice(0, 1);
  if (placement === "unpinned") return { relay: ALLOWED, clients: ALLOWED };
  return { relay: placement === "one core" ? first : ALLOWED.slice(-1), clients: first };
}

/**
 * Starts processes that may run on some cores only.
 * @param start starts them from this thread; meanwhile nobody else may start any
 */
export async function startOn<Started>(
  cores: readonly number[],
  start: () => Promise<Started> | Started,
): Promise<Started> {
  if (cores === ALLOWED) return await start();
  moveTo(cores);
  try {
    return await start();
  } finally {
    moveTo(ALLOWED);
  }
}

/**
 * sched_setaffinity(2) of this thread.
 * @throws {SyscallError} EINVAL where none of the cores is there
 */
function moveTo(cores: readonly number[]): void {
  const mask = new PinnedBuffer(MASK_BYTES);
  for (const core of cores) {
    mask.bytes[core >>> 3] = (mask.bytes[core >>> 3] as number) | (1 << (core & 7));
  }
  if (libc.sched_setaffinity(0, MASK_BYTES, mask.bytes) < 0) {
    throw syscallError("sched_setaffinity", lastErrno(), cores.join(","));
  }
}

/**
 * Reads which cores a process may use.
 * @param status text of /proc/PID/status
 * @see proc(5) Cpus_allowed_list
 */
export function readAllowedCores(status: string): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(status)?.[1] ?? "0";
  return list.split(",").flatMap((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}
