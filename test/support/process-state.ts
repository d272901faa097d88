/** What the kernel says of another process. */

import { readFileSync } from "node:fs";
import { eventually } from "./eventually.ts";

/** Waits until SIGSTOP has stopped a process: kill(2) returns before. proc(5), field 3 of stat. */
export async function isStopped(pid: number): Promise<void> {
  const stateOf = () => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.[0];
  await eventually(() => stateOf() === "T", `process ${pid} is stopped`);
}
