/**
 * Whether a path still means a certain file, asked without ever waiting for a file system.
 *
 * The paths come from other processes, and may lie on a FUSE or network file system whose server
 * never answers. An ordinary stat(2) on one of them would stop the broker for everybody.
 */

import type { Pointer } from "bun:ffi";
import * as kernel from "./constants.ts";
import { libc } from "./libc.ts";
import { closeFd } from "./owned-fd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import * as structs from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** PATH_MAX, its NUL included. */
const PATH_BYTES_MAX = 4096;
/** A rename anywhere on the machine makes a look-up in the cache start over; few come in a row. */
const ATTEMPTS_MAX = 4;
const STATX_FLAGS = kernel.AT_EMPTY_PATH | kernel.AT_STATX_DONT_SYNC;

const pathScratch = new PinnedBuffer(PATH_BYTES_MAX);
const pathText = Buffer.from(pathScratch.bytes.buffer);
const linkStatus = new PinnedBuffer(structs.STATX_BYTES);
const pathStatus = new PinnedBuffer(structs.STATX_BYTES);

const how = new PinnedBuffer(structs.OPEN_HOW_BYTES);
structs.packU64(how.words, 0, kernel.O_PATH | kernel.O_CLOEXEC);
structs.packU64(
  how.words,
  structs.OPEN_HOW_RESOLVE_OFFSET,
  kernel.RESOLVE_CACHED | kernel.RESOLVE_NO_SYMLINKS,
);

/**
 * statx(2) of what a link of /proc leads to, and of what a path means to this process, looked up
 * with openat2(2) RESOLVE_CACHED. The path of a file in use is in the kernel's cache, so nothing is
 * missed on a local file system; on others the answer may be false for the same file.
 * @param link such as /proc/PID/exe; it leads straight to the file, without any look-up
 * @param path absolute, without symbolic links
 * @returns true only where both are the same file (device and inode); false where they are not, or
 *   the kernel cannot tell without waiting, may not tell, or cannot do this at all (before 5.12)
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function namesSameFile(link: string, path: string): boolean {
  if (!statFile(kernel.AT_FDCWD, link, linkStatus)) return false;
  const fd = openCached(path);
  if (fd < 0) return false;
  try {
    return statFile(fd, "", pathStatus) && isSameFile(linkStatus.words, pathStatus.words);
  } finally {
    closeFd(fd);
  }
}

function isSameFile(a: Uint32Array, b: Uint32Array): boolean {
  for (const at of IDENTITY_OFFSETS) {
    if (structs.unpackU32(a, at) !== structs.unpackU32(b, at)) return false;
  }
  return true;
}

const IDENTITY_OFFSETS: readonly number[] = [
  structs.STATX_INO_OFFSET,
  structs.STATX_INO_OFFSET + 4,
  structs.STATX_DEV_MAJOR_OFFSET,
  structs.STATX_DEV_MINOR_OFFSET,
];

/** Conditions of this process: to go on would make the file look like another one. */
const OWN_FAILURES: readonly number[] = [kernel.EMFILE, kernel.ENFILE, kernel.ENOMEM];

/** Returns an O_PATH fd, owned by the caller, or -1. */
function openCached(path: string): number {
  if (!packPath(path)) return -1;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const fd = libc.syscall(
      kernel.SYS_OPENAT2,
      kernel.AT_FDCWD,
      pathScratch.address as Pointer,
      how.address,
      structs.OPEN_HOW_BYTES,
      null,
    );
    if (fd >= 0) return fd;
    const errno = lastErrno();
    if (OWN_FAILURES.includes(errno)) throw syscallError("openat2", errno, undefined, path);
    if (errno !== kernel.EAGAIN) return -1;
  }
  return -1;
}

/** An empty path means the fd itself. */
function statFile(directoryFd: number, path: string, target: PinnedBuffer): boolean {
  if (!packPath(path)) return false;
  const result = libc.syscall(
    kernel.SYS_STATX,
    directoryFd,
    pathScratch.address as Pointer,
    STATX_FLAGS,
    kernel.STATX_INO,
    target.address as Pointer,
  );
  return result === 0 && (structs.unpackU32(target.words, 0) & kernel.STATX_INO) !== 0;
}

/** False for what cannot be a path: C would stop at the NUL. */
function packPath(path: string): boolean {
  if (path.includes("\0")) return false;
  if (Buffer.byteLength(path) >= PATH_BYTES_MAX) return false;
  pathScratch.bytes[pathText.write(path)] = 0;
  return true;
}
