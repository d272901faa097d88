import { expect, test } from "bun:test";
import { openSync } from "node:fs";
import { lockExclusive } from "../../../src/ffi/file-lock.ts";
import { closeFd, OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { openHighFd } from "./fd-table.ts";
import { SocketDirectory } from "./socket-directory.ts";

test("lockExclusive() is true for the holder and false for everybody else, until it is closed", () => {
  using directory = new SocketDirectory();
  const open = () => OwnedFd.adopt(openSync(directory.file("lock"), "a"));
  using holder = open();
  using other = open();
  expect(lockExclusive(holder.number)).toBe(true);
  expect(lockExclusive(holder.number)).toBe(true);
  expect(lockExclusive(other.number)).toBe(false);
  holder.close();
  expect(lockExclusive(other.number)).toBe(true);
});

test("a duplicate of the fd keeps the lock", () => {
  using directory = new SocketDirectory();
  const open = () => OwnedFd.adopt(openSync(directory.file("lock"), "a"));
  using holder = open();
  using other = open();
  lockExclusive(holder.number);
  using duplicate = holder.duplicate();
  holder.close();
  expect(lockExclusive(other.number)).toBe(false);
  duplicate.close();
  expect(lockExclusive(other.number)).toBe(true);
});

test("lockExclusive() throws EBADF for an fd that is not open", () => {
  const fd = openHighFd();
  closeFd(fd);
  expect(() => lockExclusive(fd)).toThrow(`Cannot flock fd ${fd}: EBADF`);
});
