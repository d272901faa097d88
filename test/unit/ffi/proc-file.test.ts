import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { readProcFile, readProcLink } from "../../../src/ffi/proc-file.ts";
import { fdsOpenedSince, openFds } from "./fd-table.ts";

test("readProcFile() reads a file whole, and keeps no fd", () => {
  const before = openFds();
  const own = `/proc/${process.pid}`;
  expect(readProcFile(`${own}/cgroup`)).toBe(readFileSync(`${own}/cgroup`, "utf8"));
  expect(fdsOpenedSince(before)).toEqual([]);
});

test("readProcFile() reads on where a file is longer than its buffer", () => {
  const text = readProcFile("/proc/self/smaps") ?? "";
  expect(text.length).toBeGreaterThan(8192);
  expect(text.endsWith("\n")).toBe(true);
  expect(readProcFile("/proc/self/cgroup")).toBe(readFileSync("/proc/self/cgroup", "utf8"));
});

test("readProcFile() returns undefined for what is not there, and for a directory", () => {
  expect(readProcFile("/proc/self/fdinfo/999999")).toBeUndefined();
  expect(readProcFile("/proc/self/fdinfo")).toBeUndefined();
});

test("readProcLink() shows where a link leads", () => {
  expect(readProcLink("/proc/self/exe")).toBe(readlinkSync("/proc/self/exe"));
});

test("readProcLink() returns undefined for what is not there, and for what is no link", () => {
  expect(readProcLink("/proc/self/fd/999999")).toBeUndefined();
  expect(readProcLink("/proc/self/status")).toBeUndefined();
});

test("a path that does not fit is refused before the kernel sees it", () => {
  expect(() => readProcFile(`/proc/${"x".repeat(128)}`)).toThrow(AssertionError);
});
