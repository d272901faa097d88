/**
 * What a pidfd tells. The pid inside is for looking things up in /proc, never for keeping.
 */

import type { Pointer } from "bun:ffi";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { readProcFile } from "./proc-file.ts";
import * as structs from "./structs.ts";
import { lastErrno } from "./syscall-result.ts";

const PID_LINE = /^Pid:\t(-?\d+)$/m;
/** This process's pids, from the namespace of /proc inwards: one, where that is its own. */
const OWN_PIDS_LINE = /^NSpid:\t(\d+)$/m;

const info = new PinnedBuffer(structs.PIDFD_INFO_BYTES);

/** Whether /proc counts pids as this process does; undefined until somebody wants to know. */
let countsAsProc: boolean | undefined;

/**
 * ioctl(2) PIDFD_GET_INFO, or where the kernel has not got that (before Linux 6.13) the line `Pid:`
 * of /proc/self/fdinfo/FD, which takes ten times as long (6 us).
 *
 * As long as it shows a number, the process has not been reaped, and so nobody else has had that
 * pid since the pidfd was made. Whoever reads /proc/PID first and this afterwards knows, from the
 * same number, that all he read was of that process. Sending signal 0 or poll(2) would not do: they
 * say that the process lives, but not that /proc means it by that pid (/proc may belong to another
 * pid namespace), and a zombie is dead to poll(2) though its pid is still taken.
 * @param pidfd borrowed
 * @returns the pid as /proc counts, 1 or more; 0 where /proc does not show the process, or is not
 *   mounted; -1 where it was reaped, or is in no namespace that this process can see
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 * @see pidfd_open(2); proc_pid_fdinfo(5); linux/pidfd.h
 */
export function readPidOfPidfd(pidfd: number): number {
  assertFd(pidfd, "pidfd");
  countsAsProc ??= isOwnNamespaceInProc();
  if (countsAsProc) {
    const errno = readInfo(pidfd, kernel.PIDFD_INFO_PID);
    if (errno === 0) return structs.unpackU32(info.words, structs.PIDFD_INFO_PID_OFFSET);
    if (errno === kernel.ESRCH) return -1;
  }
  const digits = PID_LINE.exec(readProcFile(`/proc/self/fdinfo/${pidfd}`) ?? "")?.[1];
  return digits === undefined ? 0 : Number(digits);
}

/**
 * ioctl(2) PIDFD_GET_INFO: which cgroup of the version 2 hierarchy a process is in. No two cgroups
 * ever have the same number between one boot and the next, and no cgroup changes its path.
 * @param pidfd borrowed
 * @returns undefined where the process is gone, or the kernel does not tell (before Linux 6.13)
 * @throws {ArgumentError} ARGUMENT_FD
 * @see linux/pidfd.h PIDFD_INFO_CGROUPID; cgroups(7)
 */
export function getCgroupId(pidfd: number): number | undefined {
  assertFd(pidfd, "pidfd");
  if (readInfo(pidfd, kernel.PIDFD_INFO_CGROUPID) !== 0) return undefined;
  if ((structs.unpackU32(info.words, 0) & kernel.PIDFD_INFO_CGROUPID) === 0) return undefined;
  const id = structs.unpackU64(info.words, structs.PIDFD_INFO_CGROUPID_OFFSET);
  return Number.isSafeInteger(id) ? id : undefined;
}

/** Leaves the answer in `info`. Returns 0 or an errno. */
function readInfo(pidfd: number, mask: number): number {
  structs.packU64(info.words, 0, mask);
  const result = libc.ioctl(pidfd, kernel.PIDFD_GET_INFO, info.address as Pointer);
  return result < 0 ? lastErrno() : 0;
}

/** The ioctl counts as this process does, and /proc as the namespace that it was mounted for. */
function isOwnNamespaceInProc(): boolean {
  const digits = OWN_PIDS_LINE.exec(readProcFile("/proc/self/status") ?? "")?.[1];
  return digits !== undefined && Number(digits) === process.pid;
}
