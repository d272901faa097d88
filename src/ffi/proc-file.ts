/**
 * Reads small files and links of /proc, whole. Made for what is asked about every new client: through
 * node:fs each file took 15 us, here 4. Not for files of a disk, where open(2) may wait.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import * as kernel from "./constants.ts";
import { libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** "/proc/" with two numbers and a name has room. */
const PATH_BYTES_MAX = 128;
/** PATH_MAX: no link is longer, and few of the files that are read here. */
const TEXT_BYTES_FIRST = 4096;
/** No path of a cgroup comes near. */
const TEXT_BYTES_MAX = 1 << 20;

/** Conditions of this process: to go on would make it look as if the file were not there. */
const OWN_FAILURES: readonly number[] = [kernel.EMFILE, kernel.ENFILE, kernel.ENOMEM];

const pathScratch = new PinnedBuffer(PATH_BYTES_MAX);
const pathText = Buffer.from(pathScratch.bytes.buffer);
let content = new PinnedBuffer(TEXT_BYTES_FIRST);
let contentText = Buffer.from(content.bytes.buffer);

/**
 * open(2) and read(2): the text of a file in /proc.
 * @param path below /proc, ASCII, at most 127 bytes
 * @returns undefined where it cannot be opened or read, as that of a process which is gone, and where
 *   it is longer than a MiB
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
export function readProcFile(path: string): string | undefined {
  packPath(path);
  const fd = libc.open(pathScratch.address as Pointer, kernel.O_RDONLY | kernel.O_CLOEXEC);
  if (fd < 0) return failed("open", path);
  using file = OwnedFd.adopt(fd, { allowStandard: true });
  let bytes = 0;
  for (;;) {
    const room = content.byteLength - bytes;
    const got = libc.read(file.number, (content.address + bytes) as Pointer, room);
    if (got < 0) return failed("read", path);
    if (got === 0) return contentText.toString("utf8", 0, bytes);
    bytes += got;
    if (bytes < content.byteLength) continue;
    if (content.byteLength >= TEXT_BYTES_MAX) return undefined;
    growContent();
  }
}

/**
 * readlink(2): where a link in /proc leads.
 * @param path below /proc, ASCII, at most 127 bytes
 * @returns undefined where it cannot be read
 * @throws {SyscallError} ENOMEM
 */
export function readProcLink(path: string): string | undefined {
  packPath(path);
  const room = content.byteLength;
  const bytes = libc.readlink(pathScratch.address as Pointer, content.address as Pointer, room);
  if (bytes < 0) return failed("readlink", path);
  return bytes === room ? undefined : contentText.toString("utf8", 0, bytes);
}

function packPath(path: string): void {
  assert(path.length < PATH_BYTES_MAX, "a path in /proc is short");
  pathScratch.bytes[pathText.write(path, "latin1")] = 0;
}

function growContent(): void {
  const larger = new PinnedBuffer(content.byteLength * 4);
  larger.bytes.set(content.bytes);
  content = larger;
  contentText = Buffer.from(larger.bytes.buffer);
}

function failed(syscall: string, path: string): undefined {
  const errno = lastErrno();
  if (OWN_FAILURES.includes(errno)) throw syscallError(syscall, errno, undefined, path);
  return undefined;
}
