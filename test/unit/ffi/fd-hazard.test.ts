import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closesAtOnce } from "../../../src/ffi/fd-hazard.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { closeFd, OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { ODD_FILES } from "../../support/odd-files.ts";

const MIB = 1024 * 1024;

/** Memory that is not where all memfds are. */
const OTHER_MEMORY = "a memfd of huge pages";

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-hazard-"));
});

afterAll(() => rmSync(directory, { recursive: true }));

describe("closesAtOnce()", () => {
  test("is true for memfds and for nothing else", () => {
    for (const { name, open } of ODD_FILES) {
      const fd = open(directory);
      if (fd < 0) continue;
      const isMemory = name.includes("memfd") && name !== OTHER_MEMORY;
      expect([name, closesAtOnce(fd)]).toEqual([name, isMemory]);
      closeFd(fd);
    }
  });

  test("is true for memory of 4 MiB, and false for more", () => {
    using memory = OwnedFd.adopt(createMemfd("seqbus-test"));
    const page = new Uint8Array(MIB);
    for (let written = 1; written <= 5; written += 1) {
      libc.pwrite(memory.number, page, MIB, (written - 1) * MIB);
      expect(closesAtOnce(memory.number)).toBe(written <= 4);
    }
  });

  test("counts the memory that is there and not the size", () => {
    using memory = OwnedFd.adopt(createMemfd("seqbus-test"));
    expect(libc.ftruncate(memory.number, 1024 * MIB)).toBe(0);
    expect(closesAtOnce(memory.number)).toBe(true);
  });
});
