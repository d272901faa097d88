/**
 * The ids that the kernel shows in place of those that have none in this user namespace. Nobody can
 * tell them from the user `nobody` of the machine, who mostly has the same number.
 */

import { readFileSync } from "node:fs";

/** One id for all users, and one for all groups, that are not mapped. */
export interface OverflowIds {
  readonly uid: number;
  readonly gid: number;
}

/** The kernel's default, where /proc does not say. */
const OVERFLOW_ID = 65_534;

let known: OverflowIds | undefined;

/**
 * Reads /proc/sys/kernel/overflowuid and overflowgid, once in the life of the process.
 * @see user_namespaces(7)
 */
export function overflowIds(): OverflowIds {
  known ??= { uid: readId("overflowuid"), gid: readId("overflowgid") };
  return known;
}

function readId(name: string): number {
  let text: string;
  try {
    text = readFileSync(`/proc/sys/kernel/${name}`, "latin1").trim();
  } catch {
    return OVERFLOW_ID;
  }
  return /^\d+$/.test(text) ? Number(text) : OVERFLOW_ID;
}
