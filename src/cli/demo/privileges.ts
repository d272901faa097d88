/** Whether this process may start others as users of their own. */

import { readFileSync } from "node:fs";

/** CAP_CHOWN, CAP_SETGID, CAP_SETUID of capabilities(7), as bits of CapEff. */
const NEEDED_CAPABILITIES = (1n << 0n) | (1n << 6n) | (1n << 7n);

/**
 * Asks the kernel: root in a container may lack the capabilities, or the uids.
 * @param ids that are to be used, as uids and as gids
 * @see proc(5) /proc/pid/status; user_namespaces(7) /proc/pid/uid_map
 */
export function mayBecome(ids: readonly number[]): boolean {
  if (process.geteuid?.() !== 0) return false;
  const [, capabilities] = /^CapEff:\s*([0-9a-f]+)$/m.exec(read("/proc/self/status")) ?? [];
  const effective = BigInt(`0x${capabilities ?? "0"}`);
  if ((effective & NEEDED_CAPABILITIES) !== NEEDED_CAPABILITIES) return false;
  return isMapped(read("/proc/self/uid_map"), ids) && isMapped(read("/proc/self/gid_map"), ids);
}

/** Lines of a map: first id inside, first id outside, count. */
function isMapped(map: string, ids: readonly number[]): boolean {
  const ranges = map.split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  return ids.every((id) =>
    ranges.some(([first = 0, , count = 0]) => id >= first && id < first + count),
  );
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
