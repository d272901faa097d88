/**
 * One open file of each kind that this machine can make, for tests of what may be passed on. Some
 * need calls that src/ffi has no use for; those are bound here.
 */

import { CString, dlopen, type Pointer } from "bun:ffi";
import { closeSync, constants, openSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { FoundFdKind } from "../../src/fd-kinds.ts";
import * as kernel from "../../src/ffi/constants.ts";
import { libcNames } from "../../src/ffi/libc.ts";
import { addSeals, createMemfd, SEALS_FOR_GOOD } from "../../src/ffi/memfd.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../../src/ffi/seqpacket.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const CLOCK_MONOTONIC = 1;
const MFD_HUGETLB = 4;
const SYS_PIDFD_OPEN = 434;
const SYS_MEMFD_SECRET = 447;
/** All but that no more may come. */
const UNSEALED = SEALS_FOR_GOOD & ~kernel.F_SEAL_SEAL;
/** All but that of mappings which were made before. */
const WRITABLE = (SEALS_FOR_GOOD & ~kernel.F_SEAL_WRITE) | kernel.F_SEAL_FUTURE_WRITE;

const libc = openLibc();

function openLibc() {
  const symbols = {
    pipe: { args: ["ptr"], returns: "i32" },
    eventfd: { args: ["u32", "i32"], returns: "i32" },
    epoll_create1: { args: ["i32"], returns: "i32" },
    timerfd_create: { args: ["i32", "i32"], returns: "i32" },
    inotify_init1: { args: ["i32"], returns: "i32" },
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    mkfifo: { args: ["ptr", "u32"], returns: "i32" },
    unlockpt: { args: ["i32"], returns: "i32" },
    ptsname: { args: ["i32"], returns: "ptr" },
    syscall: { args: ["i64", "i64", "i64"], returns: "i32" },
  } as const;
  const [glibc, musl] = libcNames(process.platform, process.arch);
  try {
    return dlopen(String(glibc), symbols).symbols;
  } catch {
    return dlopen(String(musl), symbols).symbols;
  }
}

/** How to come by a file of one kind. */
export interface OddFile {
  readonly name: string;
  readonly kind: FoundFdKind;
  /** @returns the fd, the caller's to close; below 0 where this kernel has no such thing */
  readonly open: (directory: string) => number;
}

/** Every kind, most in several shapes. `open()` may leave files in the directory. */
export const ODD_FILES: readonly OddFile[] = [
  {
    name: "a memfd with all four seals",
    kind: "memfd-sealed",
    open: () => openMemfd(SEALS_FOR_GOOD),
  },
  {
    name: "a sealed memfd, opened again for reading",
    kind: "memfd-sealed",
    open: () => reopen(openMemfd(SEALS_FOR_GOOD), kernel.O_RDONLY),
  },
  { name: "a memfd without seals", kind: "memfd", open: () => openMemfd(0) },
  { name: "a memfd that may still be sealed", kind: "memfd", open: () => openMemfd(UNSEALED) },
  { name: "a memfd that can still be written", kind: "memfd", open: () => openMemfd(WRITABLE) },
  { name: "a memfd that no seal fits", kind: "memfd", open: () => createMemfd("odd", 0) },
  {
    name: "a memfd that cannot be executed",
    kind: "memfd",
    open: () => createMemfd("odd", kernel.MFD_NOEXEC_SEAL),
  },
  {
    name: "a memfd of huge pages",
    kind: "memfd",
    open: () => createMemfd("odd", kernel.MFD_ALLOW_SEALING | MFD_HUGETLB),
  },
  { name: "a file for reading", kind: "file-read-only", open: () => openSync("/etc/passwd", "r") },
  { name: "a file of /proc", kind: "file-read-only", open: () => openSync("/proc/version", "r") },
  { name: "a file for writing", kind: "file", open: (at) => openSync(join(at, "w"), "w") },
  { name: "a file for both", kind: "file", open: (at) => openSync(join(at, "rw"), "w+") },
  { name: "a file on a tmpfs", kind: "file", open: () => openUnlinked("/dev/shm") },
  { name: "a file without a name", kind: "file", open: openUnlinked },
  { name: "a pipe to read", kind: "pipe", open: () => openPipe(0) },
  { name: "a pipe to write", kind: "pipe", open: () => openPipe(1) },
  { name: "a FIFO", kind: "pipe", open: openFifo },
  { name: "a Unix socket", kind: "socket", open: openSeqpacket },
  { name: "an Internet socket", kind: "socket", open: () => libc.socket(AF_INET, SOCK_DGRAM, 0) },
  { name: "an eventfd", kind: "eventfd", open: () => libc.eventfd(0, 0) },
  {
    name: "a pidfd",
    kind: "pidfd",
    open: () => libc.syscall(SYS_PIDFD_OPEN, process.pid, 0),
  },
  { name: "a terminal's master", kind: "tty", open: openTerminalMaster },
  { name: "a terminal", kind: "tty", open: openTerminal },
  { name: "/dev/null", kind: "device", open: () => openSync("/dev/null", "r+") },
  { name: "/dev/zero", kind: "device", open: () => openSync("/dev/zero", "r") },
  { name: "a directory", kind: "directory", open: () => openSync("/etc", "r") },
  { name: "a directory by O_PATH", kind: "path", open: () => openPath("/etc") },
  { name: "a file by O_PATH", kind: "path", open: () => openPath("/etc/passwd") },
  { name: "a device by O_PATH", kind: "path", open: () => openPath("/dev/null") },
  {
    name: "a memfd by O_PATH",
    kind: "path",
    open: () => reopen(openMemfd(SEALS_FOR_GOOD), kernel.O_PATH),
  },
  { name: "an epoll instance", kind: "other", open: () => libc.epoll_create1(0) },
  { name: "a timerfd", kind: "other", open: () => libc.timerfd_create(CLOCK_MONOTONIC, 0) },
  { name: "an inotify instance", kind: "other", open: () => libc.inotify_init1(0) },
  { name: "a namespace", kind: "other", open: () => openSync("/proc/self/ns/mnt", "r") },
  { name: "secret memory", kind: "other", open: () => libc.syscall(SYS_MEMFD_SECRET, 0, 0) },
];

/** The file of that name in ODD_FILES. */
export function oddFile(name: string): OddFile {
  const found = ODD_FILES.find((file) => file.name === name);
  if (found === undefined) throw new Error(`There is no odd file called "${name}"`);
  return found;
}

function openMemfd(seals: number): number {
  const fd = createMemfd("odd");
  if (seals !== 0) addSeals(fd, seals);
  return fd;
}

function reopen(fd: number, flags: number): number {
  const again = openSync(`/proc/self/fd/${fd}`, flags);
  closeFd(fd);
  return again;
}

function openPath(path: string): number {
  return openSync(path, kernel.O_PATH);
}

function openUnlinked(directory: string): number {
  const path = join(directory, `seqbus-odd-${process.pid}`);
  const fd = openSync(path, "wx+");
  unlinkSync(path);
  return fd;
}

function openPipe(end: 0 | 1): number {
  const ends = new Int32Array(2);
  if (libc.pipe(ends) < 0) throw new Error("Cannot make a pipe");
  const [mine, other] = [ends[end], ends[1 - end]];
  closeSync(Number(other));
  return Number(mine);
}

function openFifo(directory: string): number {
  const path = join(directory, "fifo");
  libc.mkfifo(new TextEncoder().encode(`${path}\0`), 0o600);
  return openSync(path, constants.O_RDWR);
}

function openTerminalMaster(): number {
  return openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY);
}

function openTerminal(): number {
  const master = openTerminalMaster();
  libc.unlockpt(master);
  const name = new CString(libc.ptsname(master) as Pointer).toString();
  const terminal = openSync(name, constants.O_RDWR | constants.O_NOCTTY);
  closeSync(master);
  return terminal;
}
