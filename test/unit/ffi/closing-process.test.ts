import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeHoweverLong } from "../../../src/ffi/closing-process.ts";
import { EBADF, F_GETFD } from "../../../src/ffi/constants.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { openSeqpacket } from "../../../src/ffi/seqpacket.ts";
import { lastErrno } from "../../../src/ffi/syscall-result.ts";
import { ODD_FILES } from "../../support/odd-files.ts";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-closing-"));
});

afterAll(() => rmSync(directory, { recursive: true }));

describe("closeHoweverLong()", () => {
  test.each(ODD_FILES)("closes $name for this process", ({ open }) => {
    const fd = open(directory);
    if (fd < 0) return;
    closeHoweverLong(fd);
    expect(libc.fcntl(fd, F_GETFD, 0)).toBe(-1);
    expect(lastErrno()).toBe(EBADF);
  });

  test("leaves no process and no blocked signal behind", () => {
    const before = signalsBlocked();
    for (let count = 0; count < 50; count += 1) closeHoweverLong(openSeqpacket());
    expect(childrenOf(process.pid)).toEqual([]);
    expect(signalsBlocked()).toEqual(before);
  });

  test("refuses what is no fd", () => {
    expect(() => closeHoweverLong(-1)).toThrow("fd");
  });
});

function signalsBlocked(): string | undefined {
  return /SigBlk:.*/.exec(readFileSync("/proc/thread-self/status", "utf8"))?.[0];
}

/** Children of this thread that have this program's name: those of clone(2). */
function childrenOf(pid: number): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return children.split(" ").filter((child) => child !== "" && isCopy(child));
}

function isCopy(child: string): boolean {
  const own = readFileSync("/proc/self/cmdline", "utf8");
  return readFileSync(`/proc/${child}/cmdline`, "utf8") === own;
}
