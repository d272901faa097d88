/**
 * Lets go of standard input, output and error, for a process that ends while another one that shares
 * its fds does not (closing-process.ts): else whoever reads our output would wait for that one.
 */

import { readdirSync, readlinkSync } from "node:fs";
import { closeFd } from "./owned-fd.ts";

const FDS = "/proc/self/fd";
const STANDARD_FDS: readonly number[] = [0, 1, 2];

/**
 * close(2) of the three and of the duplicates that the runtime makes of them. Nothing can be printed
 * afterwards; the process must end now.
 */
export function closeStandardStreams(): void {
  const targets = new Set(STANDARD_FDS.map(targetOf));
  targets.delete(undefined);
  const fds = readdirSync(FDS).map(Number);
  for (const fd of fds.filter((open) => targets.has(targetOf(open)))) closeFd(fd);
}

/** What an fd leads to; the kernel makes this up without asking a file system. */
function targetOf(fd: number): string | undefined {
  try {
    return readlinkSync(`${FDS}/${fd}`);
  } catch {
    // It was the fd that the directory was read with.
    return undefined;
  }
}
