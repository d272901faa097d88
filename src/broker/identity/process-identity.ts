/**
 * What /proc says of a peer's process, read so that it cannot be about another process: the pidfd
 * that the kernel gave for the connection is asked before and after (readPidOfPidfd() says why).
 *
 * What cannot be known so is left out, never guessed. These facts are those of the moment when the
 * broker looks, a little after connect(). That is good enough for the unit, since nobody leaves a
 * unit of the system by himself. A process can exec another program in between, though, and keep or
 * hand on its socket: `exe` proves no more than that the peer may run that program.
 */

import { namesSameFile } from "../../ffi/file-identity.ts";
import { readPidOfPidfd } from "../../ffi/pidfd.ts";
import { readProcLink } from "../../ffi/proc-file.ts";
import type { CgroupPlace } from "./cgroup-path.ts";
import { readCgroup } from "./cgroup-paths.ts";

/** What is known of a process. */
export interface ProcessIdentity extends CgroupPlace {
  /**
   * Path of its cgroup in the version 2 hierarchy; undefined on a machine without one, and for a
   * cgroup outside of the broker's namespace. Where it is defined and `unit` is not, the process is
   * known to run in no unit.
   */
  readonly cgroup: string | undefined;
  /**
   * Path of the executable, where the broker finds the very same file there. Otherwise it begins
   * with a word in parentheses, so that no absolute path or pattern can match it:
   * `(deleted) /usr/bin/old`, or `(elsewhere) /usr/bin/app` for a file that this path does not mean
   * to the broker, such as one in a container or another mount namespace. Undefined where the broker
   * may not look: it needs the same uid, or CAP_SYS_PTRACE.
   */
  readonly exe: string | undefined;
}

const DELETED = " (deleted)";

/**
 * Reads cgroup and executable of a process.
 * @param pidfd borrowed
 * @param pid the one that SO_PEERCRED named
 * @returns undefined where the process is gone, is not the one that /proc shows under that pid, or
 *   /proc is not to be read
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function readProcessIdentity(pidfd: number, pid: number): ProcessIdentity | undefined {
  if (pid === 0) return undefined;
  const cgroup = readCgroup(pidfd, pid);
  const exe = readExecutable(pid);
  if (readPidOfPidfd(pidfd) !== pid) return undefined;
  const place = cgroup?.place;
  return {
    cgroup: place && cgroup?.path,
    unit: place?.unit,
    slice: place?.slice,
    container: place?.container,
    exe,
  };
}

/** The path alone proves little: whoever has a mount namespace of his own can make up any. */
function readExecutable(pid: number): string | undefined {
  const link = `/proc/${pid}/exe`;
  const path = readProcLink(link);
  if (path === undefined || namesSameFile(link, path)) return path;
  if (path.endsWith(DELETED)) return `(deleted) ${path.slice(0, -DELETED.length)}`;
  return `(elsewhere) ${path}`;
}
