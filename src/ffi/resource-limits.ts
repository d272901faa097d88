/**
 * getrlimit(2) and setrlimit(2): how many fds this process may hold.
 */

import type { Pointer } from "bun:ffi";
import { RLIMIT_NOFILE } from "./constants.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { RLIMIT_BYTES, RLIMIT_MAX_OFFSET, unpackU64 } from "./structs.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** Numbers of fds. */
export interface OpenFilesLimit {
  /** What counts now. */
  readonly soft: number;
  /** How far the soft limit may be raised. */
  readonly hard: number;
}

/**
 * getrlimit(2) RLIMIT_NOFILE: how many fds this process may hold now, and how far that may be raised.
 * @throws {SyscallError}
 */
export function getOpenFilesLimit(): OpenFilesLimit {
  const { words } = readLimit();
  return { soft: unpackU64(words, 0), hard: unpackU64(words, RLIMIT_MAX_OFFSET) };
}

/**
 * getrlimit(2) and setrlimit(2) RLIMIT_NOFILE: raises the soft limit to the hard one. Child processes
 * inherit it; one that uses select(2) breaks with fds above 1023.
 * @returns the limits now in force
 * @throws {SyscallError} EPERM (hard above fs.nr_open)
 */
export function raiseOpenFilesLimit(): OpenFilesLimit {
  const limit = readLimit();
  const soft = unpackU64(limit.words, 0);
  const hard = unpackU64(limit.words, RLIMIT_MAX_OFFSET);
  if (soft === hard) return { soft, hard };
  // Copied as it stands: an unlimited value, 2^64-1, would not survive as a double.
  limit.words.copyWithin(0, RLIMIT_MAX_OFFSET / 4, RLIMIT_BYTES / 4);
  if (libc.setrlimit(RLIMIT_NOFILE, limit.address as Pointer) < 0) {
    throw syscallError("setrlimit", lastErrno(), "RLIMIT_NOFILE");
  }
  return { soft: hard, hard };
}

function readLimit(): PinnedBuffer {
  const limit = new PinnedBuffer(RLIMIT_BYTES);
  if (libc.getrlimit(RLIMIT_NOFILE, limit.address as Pointer) < 0) {
    throw syscallError("getrlimit", lastErrno(), "RLIMIT_NOFILE");
  }
  return limit;
}
