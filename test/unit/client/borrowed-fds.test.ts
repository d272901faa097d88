import { expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { duplicateAll } from "../../../src/client/borrowed-fds.ts";
import { ArgumentError } from "../../../src/errors.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";

const NAME = "seqbus-borrowed";
const NOT_OPEN = 2_000_000_000;

/** How many fds of this process stand for the memory of this test. */
function countMemory(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`/memfd:${NAME}`);
    } catch {
      // The one that read the directory.
      return false;
    }
  }).length;
}

test("duplicateAll() names an fd that is not open, and leaves nothing open", () => {
  const memory = OwnedFd.adopt(createMemfd(NAME));
  const duplicate = () => duplicateAll([memory.number, NOT_OPEN]);
  expect(duplicate).toThrow(`Cannot send file descriptor ${NOT_OPEN}: it is not open`);
  expect(duplicate).toThrow(ArgumentError);
  expect(countMemory()).toBe(1);
  memory.close();
});
