import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, openSync, readFileSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FD_KINDS } from "../../../src/fd-kinds.ts";
import { fdKind } from "../../../src/ffi/fd-kind.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { skipLoudly } from "../../support/loud-skip.ts";
import { ODD_FILES, oddFile } from "../../support/odd-files.ts";
import { leakingNoFds, openHighFd } from "./fd-table.ts";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-kinds-"));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** What only some kernels have: huge pages, and memory that the kernel itself cannot see. */
const OPTIONAL = ["a memfd of huge pages", "secret memory"];

describe("fdKind()", () => {
  for (const { name, kind, open } of ODD_FILES) {
    test(`calls ${name} "${kind}", the second time too`, () => {
      const fd = openOr(name, () => open(directory));
      if (fd < 0) return skipLoudly(`This kernel has no such thing: ${name}`);
      expect([fdKind(fd), fdKind(fd)]).toEqual([kind, kind]);
      closeFd(fd);
    });
  }

  for (const name of ["a file for reading", "a file on a tmpfs", "a file without a name"]) {
    test(`calls ${name} "file" where it does not matter that it is read-only`, () => {
      const fd = oddFile(name).open(directory);
      expect(fdKind(fd, false)).toBe("file");
      closeFd(fd);
    });
  }

  test("is tried on every kind", () => {
    const tried = new Set(ODD_FILES.map(({ kind }) => kind));
    expect([...FD_KINDS, "other"].filter((kind) => !tried.has(kind as never))).toEqual([]);
  });

  test("does not move where the file is read", () => {
    const fd = openSync("/etc/passwd", "r");
    const first = new Uint8Array(5);
    readSync(fd, first, 0, 5, null);
    expect(fdKind(fd)).toBe("file-read-only");
    expect(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1")).toStartWith("pos:\t5\n");
    closeFd(fd);
  });

  test(
    "leaves no fd open",
    leakingNoFds(() => {
      const fd = openHighFd();
      fdKind(fd);
      closeFd(fd);
    }),
  );

  test("throws EBADF for an fd that is closed", () => {
    const fd = openHighFd();
    closeFd(fd);
    expect(() => fdKind(fd)).toThrow(`Cannot fcntl F_GETFL fd ${fd}: EBADF`);
  });

  test.each([undefined, -1, 1.5, Number.NaN])("refuses %p", (value) => {
    expect(() => fdKind(value as number)).toThrow("must be an integer 0..2147483647");
  });
});

/** -1 where an optional thing cannot be made. */
function openOr(name: string, open: () => number): number {
  if (!OPTIONAL.includes(name)) return open();
  try {
    return open();
  } catch {
    return -1;
  }
}
