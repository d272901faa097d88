import { expect, test } from "bun:test";
import { ArgumentError } from "../../../src/errors.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { getCgroupId, readPidOfPidfd } from "../../../src/ffi/pidfd.ts";
import { openPidfd } from "./peer-process.ts";

test("readPidOfPidfd() shows the pid of a living process", () => {
  using pidfd = openPidfd(process.pid);
  expect(readPidOfPidfd(pidfd.number)).toBe(process.pid);
});

test("readPidOfPidfd() shows -1 once the process was reaped", async () => {
  await using child = Bun.spawn(["cat"], { stdin: "pipe", stdout: "ignore" });
  using pidfd = openPidfd(child.pid);
  expect(readPidOfPidfd(pidfd.number)).toBe(child.pid);
  child.stdin.end();
  await child.exited;
  expect(readPidOfPidfd(pidfd.number)).toBe(-1);
});

test("readPidOfPidfd() shows 0 for an fd that is no pidfd", () => {
  using file = OwnedFd.adopt(createMemfd("no pidfd"));
  expect(readPidOfPidfd(file.number)).toBe(0);
});

test("readPidOfPidfd() refuses what is no fd", () => {
  expect(() => readPidOfPidfd(undefined as unknown as number)).toThrow(ArgumentError);
});

test("getCgroupId() gives processes of one cgroup one number, and none to one that was reaped", async () => {
  await using child = Bun.spawn(["cat"], { stdin: "pipe", stdout: "ignore" });
  using own = openPidfd(process.pid);
  using pidfd = openPidfd(child.pid);
  expect(getCgroupId(pidfd.number)).toBe(getCgroupId(own.number));
  child.stdin.end();
  await child.exited;
  expect(getCgroupId(pidfd.number)).toBeUndefined();
});

test("getCgroupId() returns undefined for an fd that is no pidfd", () => {
  using file = OwnedFd.adopt(createMemfd("no pidfd"));
  expect(getCgroupId(file.number)).toBeUndefined();
});
