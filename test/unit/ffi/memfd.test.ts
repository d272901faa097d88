import { expect, test } from "bun:test";
import { fstatSync, readlinkSync, writeSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import * as kernel from "../../../src/ffi/constants.ts";
import {
  addSeals,
  createMemfd,
  ftruncate,
  getSeals,
  readMemory,
  SEALS_FOR_GOOD,
  writeMemory,
} from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../../../src/ffi/seqpacket.ts";
import { isCloseOnExec } from "./fd-table.ts";

test("createMemfd() makes empty sealable memory, close-on-exec, under its name", () => {
  using memory = OwnedFd.adopt(createMemfd("reading ü"));
  expect(fstatSync(memory.number).size).toBe(0);
  expect(isCloseOnExec(memory.number)).toBe(true);
  expect(getSeals(memory.number)).toBe(0);
  expect(readlinkSync(`/proc/self/fd/${memory.number}`)).toContain("memfd:reading ü");
});

test("createMemfd() without MFD_ALLOW_SEALING makes memory that is sealed against seals", () => {
  using memory = OwnedFd.adopt(createMemfd("fixed", 0));
  expect(isCloseOnExec(memory.number)).toBe(true);
  expect(getSeals(memory.number)).toBe(kernel.F_SEAL_SEAL);
  expect(() => addSeals(memory.number, kernel.F_SEAL_WRITE)).toThrow("EPERM");
});

test("createMemfd() refuses a NUL in the name, a name too long and unknown flags", () => {
  expect(() => createMemfd("a\0b")).toThrow(AssertionError);
  expect(() => createMemfd("a".repeat(250))).toThrow("EINVAL");
  expect(() => createMemfd("a", 0x4000_0000)).toThrow("EINVAL");
});

test("addSeals() adds up, and the kernel keeps to them", () => {
  using memory = OwnedFd.adopt(createMemfd("sealed"));
  ftruncate(memory.number, 4096);
  addSeals(memory.number, kernel.F_SEAL_SHRINK);
  addSeals(memory.number, kernel.F_SEAL_GROW | kernel.F_SEAL_WRITE);
  const sum = kernel.F_SEAL_SHRINK | kernel.F_SEAL_GROW | kernel.F_SEAL_WRITE;
  expect(getSeals(memory.number)).toBe(sum);
  expect(() => ftruncate(memory.number, 0)).toThrow("EPERM");
  expect(() => ftruncate(memory.number, 8192)).toThrow("EPERM");
  expect(() => writeSync(memory.number, "x")).toThrow("EPERM");
  addSeals(memory.number, kernel.F_SEAL_SEAL);
  expect(() => addSeals(memory.number, kernel.F_SEAL_FUTURE_WRITE)).toThrow("EPERM");
});

test("ftruncate() sets sizes beyond 32 bits", () => {
  using memory = OwnedFd.adopt(createMemfd("large"));
  for (const bytes of [1, 2 ** 31, 2 ** 33 + 5, 0]) {
    ftruncate(memory.number, bytes);
    expect(fstatSync(memory.number).size).toBe(bytes);
  }
});

test.each([-1, 1.5, Number.NaN, 2 ** 53])("ftruncate() refuses %p bytes", (bytes) => {
  using memory = OwnedFd.adopt(createMemfd("odd"));
  expect(() => ftruncate(memory.number, bytes)).toThrow(AssertionError);
});

test("getSeals() throws SyscallError for what is no memfd", () => {
  using socket = OwnedFd.adopt(openSeqpacket());
  expect(() => getSeals(socket.number)).toThrow("EINVAL");
});

test.each([0, 1, 4_097, 3_000_000])(
  "writeMemory() and readMemory() carry %d bytes",
  (byteLength) => {
    using memory = OwnedFd.adopt(createMemfd("copied"));
    const bytes = Uint8Array.from({ length: byteLength }, (_, index) => index % 251);
    writeMemory(memory.number, bytes);
    expect(fstatSync(memory.number).size).toBe(byteLength);
    const target = new Uint8Array(byteLength);
    readMemory(memory.number, target);
    expect(Bun.hash(target)).toBe(Bun.hash(bytes));
  },
);

test("writeMemory() throws for sealed memory, readMemory() for memory that is too small", () => {
  using memory = OwnedFd.adopt(createMemfd("small"));
  writeMemory(memory.number, new Uint8Array(3));
  addSeals(memory.number, SEALS_FOR_GOOD);
  expect(() => writeMemory(memory.number, new Uint8Array(1))).toThrow("EPERM");
  expect(() => readMemory(memory.number, new Uint8Array(4))).toThrow(AssertionError);
});
