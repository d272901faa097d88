/** Connecting where many others do. Blocks its thread, so only for processes of a benchmark. */

import { SyscallError } from "../src/errors.ts";
import { connectPath } from "../src/ffi/seqpacket.ts";

/** Between two attempts. */
const INTERVAL_MS = 1;

/** A listener that has taken nobody for so long takes nobody. */
const ATTEMPTS_MAX = 10_000;

/**
 * Connects to a pathname, also where the listener's backlog is full for a moment.
 * @param fd borrowed, SEQPACKET or stream
 * @param connect what is tried
 * @throws {SyscallError} as connectPath(); EAGAIN after ATTEMPTS_MAX attempts
 */
export function connectPatiently(fd: number, path: string, connect = connectPath): void {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return connect(fd, path);
    } catch (error) {
      const isFull = error instanceof SyscallError && error.code === "EAGAIN";
      if (!isFull || attempts === ATTEMPTS_MAX) throw error;
      Bun.sleepSync(INTERVAL_MS);
    }
  }
}
