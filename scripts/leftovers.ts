/**
 * Finds what a run left behind: files in the temporary directory it was given, and processes that
 * still run the Bun of the checkout. Must not clean up: what is left is a fault to be seen.
 *
 *     bun scripts/leftovers.ts TEMPORARY_DIRECTORY
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Made by Node for npm, and not by us. */
const FOREIGN_FILES = ["node-compile-cache"];

/**
 * Looks once; call it when everything should have ended.
 * @param temporaryDirectory what the run had as TMPDIR, and nobody else
 * @param checkout the directory whose node_modules holds the Bun that ran
 * @returns one line for each file and process, empty where all is clean
 */
export function findLeftovers(temporaryDirectory: string, checkout: string): string[] {
  const files = readdirSync(temporaryDirectory).filter((name) => !FOREIGN_FILES.includes(name));
  return [
    ...files.map((name) => `file ${join(temporaryDirectory, name)}`),
    ...processesOf(join(checkout, "node_modules/bun/bin")),
  ];
}

function processesOf(binaryDirectory: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    try {
      if (!readlinkSync(`/proc/${pid}/exe`).startsWith(`${binaryDirectory}/`)) continue;
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      found.push(`process ${pid}: ${command}`);
    } catch {
      // It ended meanwhile, or is a thread of the kernel.
    }
  }
  return found;
}

if (import.meta.main) {
  const leftovers = findLeftovers(process.argv[2] ?? "", join(import.meta.dir, ".."));
  for (const line of leftovers) console.error(`left behind: ${line}`);
  process.exit(leftovers.length === 0 ? 0 : 1);
}
