/**
 * Finds the epoll instance of Bun's own event loop, so that a loop of ours can sleep in epoll_wait
 * and still wake when Bun has something to do: a signal, a message, a file. It is only ever waited
 * on, never changed. Must be called before this process makes epoll instances of its own.
 */

import { readdirSync, readlinkSync } from "node:fs";

const FD_DIRECTORY = "/proc/self/fd";
const EPOLL_LINK = "anon_inode:[eventpoll]";

/**
 * Looks for the only epoll instance of this process.
 * @returns its fd, borrowed from Bun; undefined where there is none, or more than one to choose
 *   from, or no /proc
 * @see proc(5) /proc/pid/fd; epoll(7), "an epoll file descriptor is itself pollable"
 */
export function findRuntimeEpoll(): number | undefined {
  let names: string[];
  try {
    names = readdirSync(FD_DIRECTORY);
  } catch {
    return undefined;
  }
  const found = names.filter((name) => linkTarget(name) === EPOLL_LINK);
  return found.length === 1 ? Number(found[0]) : undefined;
}

/** An fd may be gone by the time it is looked at: the one that lists the directory always is. */
function linkTarget(name: string): string | undefined {
  try {
    return readlinkSync(`${FD_DIRECTORY}/${name}`);
  } catch {
    return undefined;
  }
}
