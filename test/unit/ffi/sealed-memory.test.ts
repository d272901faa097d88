import { describe, expect, test } from "bun:test";
import { constants, openSync } from "node:fs";
import * as kernel from "../../../src/ffi/constants.ts";
import {
  addSeals,
  createMemfd,
  ftruncate,
  SEALS_FOR_GOOD,
  writeMemory,
} from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import {
  HAS_HOLES,
  NOT_MEMORY,
  NOT_READABLE,
  NOT_SEALED,
  sealedMemoryBytes,
} from "../../../src/ffi/sealed-memory.ts";
import { openSeqpacket } from "../../../src/ffi/seqpacket.ts";
import { testUnless } from "../../support/loud-skip.ts";

/** linux/memfd.h */
const MFD_HUGETLB = 0x4;
const HUGE_PAGE_BYTES = 2 * 1024 * 1024;

/** Memory of this size, all of it written, with these seals. */
function memoryWith(seals: number, byteLength = 5_000): OwnedFd {
  const memory = OwnedFd.adopt(createMemfd("sealed-test"));
  writeMemory(memory.number, new Uint8Array(byteLength));
  addSeals(memory.number, seals);
  return memory;
}

function reopened(memory: OwnedFd, flags: number): OwnedFd {
  return OwnedFd.adopt(openSync(`/proc/self/fd/${memory.number}`, flags));
}

/** Undefined where the machine has no huge pages set up. */
function hugeMemory(): OwnedFd | undefined {
  try {
    const memory = OwnedFd.adopt(createMemfd("huge", kernel.MFD_ALLOW_SEALING | MFD_HUGETLB));
    ftruncate(memory.number, HUGE_PAGE_BYTES);
    addSeals(memory.number, SEALS_FOR_GOOD);
    return memory;
  } catch {
    return undefined;
  }
}

describe("sealedMemoryBytes()", () => {
  test.each([0, 1, 4_096, 5_000, 3_000_000])("gives the size of sealed memory: %d", (bytes) => {
    using memory = memoryWith(SEALS_FOR_GOOD, bytes);
    expect(sealedMemoryBytes(memory.number)).toBe(bytes);
  });

  test("takes memory that is open for reading alone", () => {
    using memory = memoryWith(SEALS_FOR_GOOD);
    using readOnly = reopened(memory, constants.O_RDONLY);
    expect(sealedMemoryBytes(readOnly.number)).toBe(5_000);
  });

  test.each([
    ["no seal", 0],
    ["no F_SEAL_SEAL", SEALS_FOR_GOOD & ~kernel.F_SEAL_SEAL],
    ["no F_SEAL_SHRINK", SEALS_FOR_GOOD & ~kernel.F_SEAL_SHRINK],
    ["no F_SEAL_GROW", SEALS_FOR_GOOD & ~kernel.F_SEAL_GROW],
    ["no F_SEAL_WRITE", SEALS_FOR_GOOD & ~kernel.F_SEAL_WRITE],
    [
      "F_SEAL_FUTURE_WRITE in place of F_SEAL_WRITE",
      (SEALS_FOR_GOOD & ~kernel.F_SEAL_WRITE) | kernel.F_SEAL_FUTURE_WRITE,
    ],
  ])("says NOT_SEALED for memory with %s", (_name, seals) => {
    using memory = memoryWith(seals);
    expect(sealedMemoryBytes(memory.number)).toBe(NOT_SEALED);
  });

  test("says HAS_HOLES for memory that was not written all through", () => {
    using empty = OwnedFd.adopt(createMemfd("holes"));
    ftruncate(empty.number, 1);
    addSeals(empty.number, SEALS_FOR_GOOD);
    expect(sealedMemoryBytes(empty.number)).toBe(HAS_HOLES);
    using half = OwnedFd.adopt(createMemfd("holes"));
    writeMemory(half.number, new Uint8Array(4_096));
    ftruncate(half.number, 8_192);
    addSeals(half.number, SEALS_FOR_GOOD);
    expect(sealedMemoryBytes(half.number)).toBe(HAS_HOLES);
  });

  test("says NOT_READABLE for memory that is open for writing alone", () => {
    using memory = memoryWith(SEALS_FOR_GOOD);
    using writeOnly = reopened(memory, constants.O_WRONLY);
    expect(sealedMemoryBytes(writeOnly.number)).toBe(NOT_READABLE);
  });

  test.each([
    ["a device", "/dev/zero", constants.O_RDWR],
    ["a directory", "/proc/self", constants.O_RDONLY],
    ["a file", import.meta.path, constants.O_RDONLY],
    ["a path", "/dev/zero", kernel.O_PATH],
  ])("says NOT_MEMORY for %s", (_name, path, flags) => {
    using file = OwnedFd.adopt(openSync(path, flags));
    expect(sealedMemoryBytes(file.number)).toBe(NOT_MEMORY);
  });

  test("says NOT_MEMORY for sealed memory that is open as a path alone", () => {
    using memory = memoryWith(SEALS_FOR_GOOD);
    using path = reopened(memory, kernel.O_PATH);
    expect(sealedMemoryBytes(path.number)).toBe(NOT_MEMORY);
  });

  test("says NOT_MEMORY for a socket, and for a closed fd", () => {
    using socket = OwnedFd.adopt(openSeqpacket());
    expect(sealedMemoryBytes(socket.number)).toBe(NOT_MEMORY);
    expect(sealedMemoryBytes(1_000_000_000)).toBe(NOT_MEMORY);
  });

  const huge = hugeMemory();
  testUnless(
    huge === undefined,
    "the kernel makes no memory of huge pages",
    "says NOT_MEMORY for memory of huge pages",
    () => {
      using memory = huge as OwnedFd;
      expect(sealedMemoryBytes(memory.number)).toBe(NOT_MEMORY);
    },
  );
});
