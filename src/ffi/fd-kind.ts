/**
 * What kind of file an fd is open on, for fds that come from strangers. Nothing here waits for a file
 * system, reads what the file holds, or asks its driver: a FUSE server that never answers must not
 * stop the caller. Not for permissions, and not for what a mapping needs (sealed-memory.ts).
 *
 * A kind does not change while the fd is open: type and access mode are fixed at open(2), and seals
 * only grow.
 *
 * Measured on x86-64, all calls through FFI (bench/fd-kind.bench.ts): memfd-sealed 0.16 us (one
 * call), a regular file 0.5 us (two; 0.7 us with its access mode), an eventfd 4 us (three, one of
 * them in /proc).
 */

import type { Pointer } from "bun:ffi";
import type { FoundFdKind } from "../fd-kinds.ts";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { fileStatus, MEMORY_DEVICE, readFileStatus, statusDevice } from "./file-status.ts";
import { libc } from "./libc.ts";
import { SEALS_FOR_GOOD } from "./memfd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import * as structs from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** Majors of terminals and serial lines, from the kernel's admin-guide/devices.txt. */
const TTY_MAJORS: ReadonlySet<number> = new Set([
  4, 5, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 166, 188,
  204, 229,
]);

/**
 * Devices below it have the major number 0: file systems without a block device under them, the
 * kernel's own included.
 */
const ANONYMOUS_DEVICES_END = 0x1_0000_0000;

/** Longer links are cut: what tells the kernel's own files apart stands at their start. */
const LINK_BYTES_MAX = 64;
const LINK_PREFIX = "/proc/self/fd/";
const LINK_PATH_BYTES_MAX = LINK_PREFIX.length + 11;

/** What /proc says of memfd_secret(2), which looks like a deleted file but never was one. */
const SECRET_MEMORY_LINK = "/secretmem (deleted)";

/** Devices remembered at most. Guess: more mounts than a machine has. */
const ORDINARY_DEVICES_MAX = 4_096;

const linkPath = new PinnedBuffer(LINK_PATH_BYTES_MAX);
const linkPathText = Buffer.from(linkPath.bytes.buffer);
const link = new PinnedBuffer(LINK_BYTES_MAX);
const linkText = Buffer.from(link.bytes.buffer);

linkPathText.write(LINK_PREFIX, "latin1");

/** Anonymous devices on which a file with a path was seen: no need to look again. */
const ordinaryDevices = new Set<number>();

/**
 * fcntl(2) F_GET_SEALS and F_GETFL, statx(2), readlink(2) of /proc/self/fd: the kind of one fd.
 *
 * - `memfd-sealed` has all of F_SEAL_SEAL, SHRINK, GROW and WRITE; `memfd` is any other memory of
 *   memfd_create(2), save that of huge pages without MFD_ALLOW_SEALING, which is `file`.
 * - `file` and `file-read-only` (O_RDONLY) are regular files that a file system holds.
 * - `pipe` is a FIFO too; `socket` is of any address family, see getSocketDomain().
 * - `tty` is a terminal or serial line by the number of its device; `device` is any other.
 * - `path` is whatever was opened with O_PATH.
 * @param fd borrowed
 * @param tellsReadOnly whether it matters that a file was opened for reading alone; where it does
 *   not, every regular file is "file", which saves a call
 * @returns "other" for what has no name here (epoll, timerfd, io_uring, namespaces, …), and where
 *   the kernel does not tell (a security module forbids it, /proc is missing)
 * @throws {ArgumentError} ARGUMENT_FD
 * @throws {SyscallError} EBADF: the fd is not open
 */
export function fdKind(fd: number, tellsReadOnly = true): FoundFdKind {
  assertFd(fd, "fd");
  const seals = libc.fcntl(fd, kernel.F_GET_SEALS, 0);
  if (seals >= 0) return memoryKind(fd, seals, tellsReadOnly);
  if (lastErrno() === kernel.EBADF) return pathKind(fd);
  if (!readFileStatus(fd, kernel.STATX_TYPE)) return "other";
  switch (statusWord(structs.STATX_MODE_OFFSET) & kernel.S_IFMT) {
    case kernel.S_IFREG:
      return regularKind(fd, tellsReadOnly);
    case kernel.S_IFIFO:
      return "pipe";
    case kernel.S_IFSOCK:
      return "socket";
    case kernel.S_IFDIR:
      return "directory";
    case kernel.S_IFCHR:
      return TTY_MAJORS.has(statusWord(structs.STATX_RDEV_MAJOR_OFFSET)) ? "tty" : "device";
    case kernel.S_IFBLK:
      return "device";
    default:
      return kindOfLink(readLink(fd));
  }
}

/** Of what has seals: a memfd, or a file on a tmpfs or hugetlbfs, which is sealed against seals. */
function memoryKind(fd: number, seals: number, tellsReadOnly: boolean): FoundFdKind {
  if ((seals & SEALS_FOR_GOOD) === SEALS_FOR_GOOD) return "memfd-sealed";
  if (seals !== kernel.F_SEAL_SEAL) return "memfd";
  if (!readFileStatus(fd, kernel.STATX_TYPE)) return "other";
  return statusDevice() === MEMORY_DEVICE ? "memfd" : regularKind(fd, tellsReadOnly);
}

/** F_GET_SEALS fails with EBADF on an O_PATH fd as on a closed one; F_GETFL does not. */
function pathKind(fd: number): FoundFdKind {
  const flags = libc.fcntl(fd, kernel.F_GETFL, 0);
  if (flags < 0) throw syscallError("fcntl F_GETFL", lastErrno(), `fd ${fd}`);
  return (flags & kernel.O_PATH) !== 0 ? "path" : "other";
}

/** The status is of a regular file, as the kernel also calls namespaces and some pidfds. */
function regularKind(fd: number, tellsReadOnly: boolean): FoundFdKind {
  const device = statusDevice();
  if (device < ANONYMOUS_DEVICES_END && !ordinaryDevices.has(device)) {
    const text = readLink(fd);
    if (!isPath(text)) return kindOfLink(text);
    if (ordinaryDevices.size >= ORDINARY_DEVICES_MAX) ordinaryDevices.clear();
    ordinaryDevices.add(device);
  }
  if (!tellsReadOnly) return "file";
  const flags = libc.fcntl(fd, kernel.F_GETFL, 0);
  return (flags & kernel.O_ACCMODE) === kernel.O_RDONLY ? "file-read-only" : "file";
}

/** Whether a link of /proc is that of a file with a path; the kernel's own have names like "net:[4]". */
function isPath(text: string): boolean {
  return text.startsWith("/") && text !== SECRET_MEMORY_LINK;
}

function kindOfLink(text: string): FoundFdKind {
  if (text === "anon_inode:[eventfd]") return "eventfd";
  if (text === "anon_inode:[pidfd]" || text.startsWith("pidfd:[")) return "pidfd";
  return "other";
}

function statusWord(byteOffset: number): number {
  return structs.unpackU32(fileStatus.words, byteOffset);
}

/** The start of the fd's link in /proc, which the kernel makes up; empty where there is no /proc. */
function readLink(fd: number): string {
  linkPathText.write(`${fd}\0`, LINK_PREFIX.length, "latin1");
  const bytes = libc.readlink(linkPath.address as Pointer, link.address as Pointer, LINK_BYTES_MAX);
  return bytes > 0 ? linkText.toString("latin1", 0, bytes) : "";
}
