/**
 * The paths of cgroups, by their numbers, and what they say. Reading /proc/PID/cgroup takes 7 us, asking for the number
 * half a microsecond; and a user has many processes in few cgroups.
 *
 * A number stands for one path for ever (getCgroupId() says why), so nothing here grows old. It is
 * learnt only where the process was in the same cgroup before and after its path was read, and where
 * the path was surely its own: what is learnt is believed of others.
 */

import { getCgroupId, readPidOfPidfd } from "../../ffi/pidfd.ts";
import { readProcFile } from "../../ffi/proc-file.ts";
import { type CgroupPlace, parseCgroupPath } from "./cgroup-path.ts";

/** The line of the version 2 hierarchy; versions 1 have other numbers and name controllers. */
const CGROUP_LINE = /^0::(\/.*)$/m;

/** Guess: some times what a large desktop has. A user may make more; then paths are read again. */
const CGROUPS_REMEMBERED_MAX = 4_096;

/** A cgroup of the version 2 hierarchy. */
export interface Cgroup {
  /** As /proc shows it. */
  readonly path: string;
  /** What the path says; undefined for one that says nothing. */
  readonly place: CgroupPlace | undefined;
}

const cgroupsById = new Map<number, Cgroup>();

/**
 * The cgroup of a process in the version 2 hierarchy.
 * @param pidfd borrowed
 * @param pid the pid that it had; whoever calls asks afterwards whether it has it still
 * @returns undefined where it cannot be read, or there is no such hierarchy
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function readCgroup(pidfd: number, pid: number): Cgroup | undefined {
  const id = getCgroupId(pidfd);
  const known = id === undefined ? undefined : cgroupsById.get(id);
  if (known !== undefined) return known;
  const path = CGROUP_LINE.exec(readProcFile(`/proc/${pid}/cgroup`) ?? "")?.[1];
  if (path === undefined) return undefined;
  const cgroup = { path, place: parseCgroupPath(path) };
  if (id === undefined) return cgroup;
  if (getCgroupId(pidfd) === id && readPidOfPidfd(pidfd) === pid) remember(id, cgroup);
  return cgroup;
}

function remember(id: number, cgroup: Cgroup): void {
  if (cgroupsById.size >= CGROUPS_REMEMBERED_MAX) cgroupsById.clear();
  cgroupsById.set(id, cgroup);
}
