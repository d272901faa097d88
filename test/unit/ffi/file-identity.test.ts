import { expect, test } from "bun:test";
import { copyFileSync, linkSync, readlinkSync, renameSync, symlinkSync } from "node:fs";
import { namesSameFile } from "../../../src/ffi/file-identity.ts";
import { leakingNoFds } from "./fd-table.ts";
import { SocketDirectory } from "./socket-directory.ts";

const SELF = "/proc/self/exe";
const OWN_PATH = readlinkSync(SELF);

test(
  "namesSameFile() knows the executable of a process by its path",
  leakingNoFds(() => {
    expect(namesSameFile(SELF, OWN_PATH)).toBe(true);
    expect(namesSameFile(SELF, "/proc/self/status")).toBe(false);
    expect(namesSameFile(SELF, "/nowhere/at/all")).toBe(false);
    expect(namesSameFile("/nowhere/at/all", OWN_PATH)).toBe(false);
  }),
);

test("namesSameFile() tells a copy from the file itself", () => {
  using directory = new SocketDirectory();
  const [original, copy, link] = ["original", "copy", "link"].map((name) => directory.file(name));
  copyFileSync("/proc/self/cmdline", original as string);
  copyFileSync(original as string, copy as string);
  linkSync(original as string, link as string);
  expect(namesSameFile(original as string, link as string)).toBe(true);
  expect(namesSameFile(original as string, copy as string)).toBe(false);
  renameSync(copy as string, link as string);
  expect(namesSameFile(original as string, link as string)).toBe(false);
});

test("namesSameFile() follows no symbolic link in the path", () => {
  using directory = new SocketDirectory();
  symlinkSync(OWN_PATH, directory.file("link"));
  expect(namesSameFile(SELF, directory.file("link"))).toBe(false);
  expect(namesSameFile(SELF, SELF)).toBe(false);
});

test("namesSameFile() refuses paths that C would cut or that are too long", () => {
  expect(namesSameFile(SELF, `${OWN_PATH}\0`)).toBe(false);
  expect(namesSameFile(SELF, "/".repeat(4095 - OWN_PATH.length) + OWN_PATH)).toBe(true);
  expect(namesSameFile(SELF, "/".repeat(4096 - OWN_PATH.length) + OWN_PATH)).toBe(false);
  expect(namesSameFile(SELF, "/".repeat(5000))).toBe(false);
});
