import { expect, test } from "bun:test";
import { ArgumentError, DataError, SyscallError } from "../../../src/errors.ts";
import { closeFd, duplicateFd, OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { fdsOpenedSince, isCloseOnExec, isOpenFd, openFds, openHighFd } from "./fd-table.ts";

test("OwnedFd.close() closes the fd once, and leaves a reused number alone", () => {
  const fd = openHighFd();
  const owner = OwnedFd.adopt(fd);
  owner.close();
  expect(owner.isOpen).toBe(false);
  expect(isOpenFd(fd)).toBe(false);

  const reused = openHighFd();
  expect(reused).toBe(fd);
  owner.close();
  owner[Symbol.dispose]();
  expect(isOpenFd(reused)).toBe(true);
  closeFd(reused);
});

test("OwnedFd closes its fd at the end of a using block", () => {
  const fd = openHighFd();
  {
    using owner = OwnedFd.adopt(fd);
    expect(owner.number).toBe(fd);
  }
  expect(isOpenFd(fd)).toBe(false);
});

test("OwnedFd.release() gives the fd away open", () => {
  const fd = openHighFd();
  const owner = OwnedFd.adopt(fd);
  expect(owner.release()).toBe(fd);
  owner.close();
  expect(isOpenFd(fd)).toBe(true);
  closeFd(fd);
});

test.each(["close", "release"] as const)("OwnedFd throws DATA_FDS_TAKEN after %s()", (end) => {
  const fd = openHighFd();
  const owner = OwnedFd.adopt(fd);
  owner[end]();
  if (end === "release") closeFd(fd);
  for (const use of [() => owner.number, () => owner.release(), () => owner.duplicate()]) {
    expect(use).toThrow(DataError);
  }
});

test("OwnedFd.duplicate() makes a second owner that outlives the first", () => {
  const before = openFds();
  const first = OwnedFd.adopt(openHighFd());
  const second = first.duplicate();
  first.close();
  expect(isOpenFd(second.number)).toBe(true);
  expect(isCloseOnExec(second.number)).toBe(true);
  second.close();
  expect(fdsOpenedSince(before)).toEqual([]);
});

test.each([0, 1, 2])("OwnedFd.adopt() refuses the standard stream %d unless told", (fd) => {
  expect(() => OwnedFd.adopt(fd)).toThrow(ArgumentError);
  expect(OwnedFd.adopt(fd, { allowStandard: true }).release()).toBe(fd);
});

test("closeFd() throws EBADF for an fd that is not open", () => {
  const fd = openHighFd();
  closeFd(fd);
  expect(() => closeFd(fd)).toThrow(SyscallError);
  expect(() => closeFd(fd)).toThrow(`Cannot close fd ${fd}: EBADF, not an open file descriptor`);
});

test("duplicateFd() throws EBADF for an fd that is not open", () => {
  const fd = openHighFd();
  closeFd(fd);
  expect(() => duplicateFd(fd)).toThrow("EBADF");
});
