/**
 * What fds this process holds, for tests of src/ffi. Reads /proc and asks fcntl; changes nothing.
 */

import { expect } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import {
  F_DUPFD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  FD_CLOEXEC,
  O_NONBLOCK,
} from "../../../src/ffi/constants.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";

/** What tests of src/ffi open. Bun's own threads open and close pipes, eventfds and modules. */
const OWN_KINDS = /^(socket:|\/memfd:|anon_inode:\[(eventpoll|pidfd)\]|pidfd:|\/etc\/)/;

/** Open fds of the kinds that src/ffi makes, each as number and target: "12 socket:[3456]". */
export function openFds(): Set<string> {
  const found = new Set<string>();
  for (const fd of readdirSync("/proc/self/fd")) {
    const target = targetOf(fd);
    if (OWN_KINDS.test(target)) found.add(`${fd} ${target}`);
  }
  return found;
}

/** What an fd is open on. Empty for one that is gone by now, such as the one that read the directory. */
export function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

/** The fds that are open now and were not when openFds() gave `before`. */
export function fdsOpenedSince(before: ReadonlySet<string>): string[] {
  return [...openFds()].filter((fd) => !before.has(fd));
}

/** Where openHighFd() starts: Bun's threads take the lowest free numbers, so never these. */
const HIGH_FD = 900;

/**
 * A memfd whose number nothing else in the process takes, not even after it is closed.
 * @returns owned by the caller
 */
export function openHighFd(): number {
  const low = createMemfd("high");
  const high = libc.fcntl(low, F_DUPFD_CLOEXEC, HIGH_FD);
  closeFd(low);
  return high;
}

/** Whether this very number is open. */
export function isOpenFd(fd: number): boolean {
  return libc.fcntl(fd, F_GETFD, 0) >= 0;
}

/** Whether the fd is open and will be closed by exec. */
export function isCloseOnExec(fd: number): boolean {
  const flags = libc.fcntl(fd, F_GETFD, 0);
  return flags >= 0 && (flags & FD_CLOEXEC) !== 0;
}

/** Whether the fd is open and never waits. */
export function isNonBlocking(fd: number): boolean {
  const flags = libc.fcntl(fd, F_GETFL, 0);
  return flags >= 0 && (flags & O_NONBLOCK) !== 0;
}

/** A test body that fails when it leaves an fd open that it did not find. */
export function leakingNoFds(body: () => void): () => void {
  return () => {
    const before = openFds();
    body();
    expect(fdsOpenedSince(before)).toEqual([]);
  };
}
