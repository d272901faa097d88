/** Run as root: drops privileges, tries to get them back, and prints what all threads now are. */

import { openSync, readdirSync, readFileSync } from "node:fs";
import { SyscallError } from "../../../src/errors.ts";
import { dropPrivileges } from "../../../src/ffi/process-credentials.ts";

/** The id lines of every thread, each different one once. */
function distinctIds(): string[] {
  const lines = readdirSync("/proc/self/task").flatMap((thread) => {
    const status = readFileSync(`/proc/self/task/${thread}/status`, "utf8");
    return status.match(/^(Uid|Gid|Groups):.*$/gm) ?? [];
  });
  return [...new Set(lines.map((line) => line.trim().replaceAll(/\s+/g, " ")))];
}

function codeOf(call: () => unknown): string {
  try {
    call();
    return "done";
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    return String((error as { code?: unknown }).code);
  }
}

const threads = readdirSync("/proc/self/task").length;
dropPrivileges({ uid: 12_345, gid: 23_456, groups: [9, 7] });
const report = {
  threads,
  ids: distinctIds(),
  regain: codeOf(() => dropPrivileges({ uid: 0, gid: 0, groups: [] })),
  file: codeOf(() => openSync("/etc/shadow", "r")),
};
process.stdout.write(JSON.stringify(report));
