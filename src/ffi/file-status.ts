/**
 * statx(2) of fds that come from strangers, one at a time and without ever waiting for a file system.
 * Not for looking a path up: that is file-identity.ts.
 */

import type { Pointer } from "bun:ffi";
import { AT_EMPTY_PATH, AT_STATX_DONT_SYNC, STATX_TYPE, SYS_STATX } from "./constants.ts";
import { libc } from "./libc.ts";
import { createMemfd } from "./memfd.ts";
import { OwnedFd } from "./owned-fd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import * as structs from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** A FUSE or network file system answers from what it knows, and is not asked. */
const FLAGS = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;

const TWO_POW_32 = 0x1_0000_0000;

/** Where readFileStatus() leaves what it read, as struct statx; good until it is called again. */
export const fileStatus: PinnedBuffer = new PinnedBuffer(structs.STATX_BYTES);

const emptyPath = new PinnedBuffer(1);

/** Device of the file system that all memfds of this machine live on, but those of huge pages. */
export const MEMORY_DEVICE: number = readMemoryDevice();

/**
 * statx(2) AT_EMPTY_PATH, AT_STATX_DONT_SYNC: reads into `fileStatus`.
 * @param fd borrowed
 * @param mask STATX_ bits
 * @returns false where the kernel does not tell all that the mask asks for
 */
export function readFileStatus(fd: number, mask: number): boolean {
  const result = libc.syscall(
    SYS_STATX,
    fd,
    emptyPath.address as Pointer,
    FLAGS,
    mask,
    fileStatus.address as Pointer,
  );
  return result === 0 && (structs.unpackU32(fileStatus.words, 0) & mask) === mask;
}

/** The device of the last status: its major number times 2^32, and its minor number. */
export function statusDevice(): number {
  const major = structs.unpackU32(fileStatus.words, structs.STATX_DEV_MAJOR_OFFSET);
  return major * TWO_POW_32 + structs.unpackU32(fileStatus.words, structs.STATX_DEV_MINOR_OFFSET);
}

function readMemoryDevice(): number {
  using memory = OwnedFd.adopt(createMemfd("seqbus-probe"), { allowStandard: true });
  if (!readFileStatus(memory.number, STATX_TYPE)) {
    throw syscallError("statx", lastErrno(), "a new memfd");
  }
  return statusDevice();
}
