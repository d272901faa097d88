/**
 * What a pidfd tells. The pid inside is for looking things up in /proc, never for keeping.
 */

import { assertFd } from "./fd-number.ts";
import { readProcFile } from "./proc-file.ts";

const PID_LINE = /^Pid:\t(-?\d+)$/m;

/**
 * Reads the line `Pid:` of /proc/self/fdinfo/FD.
 *
 * As long as it shows a number, the process has not been reaped, and so nobody else has had that
 * pid since the pidfd was made. Whoever reads /proc/PID first and this afterwards knows, from the
 * same number, that all he read was of that process. Sending signal 0 or poll(2) would not do: they
 * say that the process lives, but not that /proc means it by that pid (/proc may belong to another
 * pid namespace), and a zombie is dead to poll(2) though its pid is still taken.
 * @param pidfd borrowed
 * @returns the pid as /proc counts, 1 or more; 0 where /proc does not show the process, or is not
 *   mounted; -1 where it was reaped
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 * @see pidfd_open(2); proc_pid_fdinfo(5)
 */
export function readPidOfPidfd(pidfd: number): number {
  assertFd(pidfd, "pidfd");
  const digits = PID_LINE.exec(readProcFile(`/proc/self/fdinfo/${pidfd}`) ?? "")?.[1];
  return digits === undefined ? 0 : Number(digits);
}
