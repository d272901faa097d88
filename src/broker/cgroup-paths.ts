/**
 * The paths of cgroups, by their numbers. Reading /proc/PID/cgroup takes 7 us, asking for the number
 * half a microsecond; and a user has many processes in few cgroups.
 *
 * A number stands for one path for ever (getCgroupId() says why), so nothing here grows old. It is
 * learnt only where the process was in the same cgroup before and after its path was read, and where
 * the path was surely its own: what is learnt is believed of others.
 */

import { getCgroupId, readPidOfPidfd } from "../ffi/pidfd.ts";
import { readProcFile } from "../ffi/proc-file.ts";

/** The line of the version 2 hierarchy; versions 1 have other numbers and name controllers. */
const CGROUP_LINE = /^0::(\/.*)$/m;

/** Guess: some times what a large desktop has. A user may make more; then paths are read again. */
const CGROUPS_REMEMBERED_MAX = 4_096;

const pathsById = new Map<number, string>();

/**
 * Path of a process's cgroup in the version 2 hierarchy.
 * @param pidfd borrowed
 * @param pid the pid that it had; whoever calls asks afterwards whether it has it still
 * @returns as /proc shows it; undefined where that cannot be read, or there is no such hierarchy
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function readCgroup(pidfd: number, pid: number): string | undefined {
  const id = getCgroupId(pidfd);
  const known = id === undefined ? undefined : pathsById.get(id);
  if (known !== undefined) return known;
  const path = CGROUP_LINE.exec(readProcFile(`/proc/${pid}/cgroup`) ?? "")?.[1];
  if (id === undefined || path === undefined) return path;
  if (getCgroupId(pidfd) === id && readPidOfPidfd(pidfd) === pid) remember(id, path);
  return path;
}

function remember(id: number, path: string): void {
  if (pathsById.size >= CGROUPS_REMEMBERED_MAX) pathsById.clear();
  pathsById.set(id, path);
}
