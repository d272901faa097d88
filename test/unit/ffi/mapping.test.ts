import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { Mapping, mappedMemory } from "../../../src/ffi/mapping.ts";
import { addSeals, createMemfd, SEALS_FOR_GOOD, writeMemory } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../../../src/ffi/seqpacket.ts";
import { eventually } from "../../support/eventually.ts";

const NAME = "mapping-test";
const BYTES = 300_001;

/** Sealed memory that counts up byte by byte. */
function sealedMemory(byteLength = BYTES): OwnedFd {
  const memory = OwnedFd.adopt(createMemfd(NAME));
  const bytes = Uint8Array.from({ length: byteLength }, (_, index) => index % 251);
  writeMemory(memory.number, bytes);
  addSeals(memory.number, SEALS_FOR_GOOD);
  return memory;
}

/** How many mappings of such memory the kernel knows in this process. */
function mappingsInKernel(): number {
  return readFileSync("/proc/self/maps", "utf8").split(`/memfd:${NAME}`).length - 1;
}

/** Waits until the collector has found all mappings that nobody holds. */
async function collected(): Promise<void> {
  await eventually(() => {
    Bun.gc(true);
    return mappingsInKernel() === 0 && mappedMemory().mappings === 0;
  }, "all mappings were collected");
}

describe("Mapping.open()", () => {
  test("shows what the memory holds, after its fd is closed", () => {
    const memory = sealedMemory();
    const mapping = Mapping.open(memory.number, BYTES);
    memory.close();
    expect(mapping.bytes).toHaveLength(BYTES);
    expect(mapping.bytes.every((byte, index) => byte === index % 251)).toBe(true);
    mapping.release();
  });

  test("gives a program that writes a copy of its own", () => {
    using memory = sealedMemory();
    const [one, two] = [Mapping.open(memory.number, BYTES), Mapping.open(memory.number, BYTES)];
    one.bytes.fill(0xff);
    expect(two.bytes[5]).toBe(5);
    for (const mapping of [one, two]) mapping.release();
  });

  test("counts mappings and their bytes, and the kernel agrees", () => {
    using memory = sealedMemory();
    const before = mappedMemory();
    const mapping = Mapping.open(memory.number, BYTES);
    expect(mappedMemory()).toEqual({
      mappings: before.mappings + 1,
      bytes: before.bytes + BYTES,
    });
    expect(mappingsInKernel()).toBe(1);
    mapping.release();
    expect(mappedMemory()).toEqual(before);
    expect(mappingsInKernel()).toBe(0);
  });

  test("throws SyscallError for what cannot be mapped", () => {
    using socket = OwnedFd.adopt(openSeqpacket());
    const before = mappedMemory();
    expect(() => Mapping.open(socket.number, BYTES)).toThrow("ENODEV");
    expect(mappedMemory()).toEqual(before);
  });

  test.each([0, -1, 1.5, Number.NaN])("refuses a length of %p", (byteLength) => {
    using memory = sealedMemory();
    expect(() => Mapping.open(memory.number, byteLength)).toThrow(AssertionError);
  });
});

describe("Mapping.release()", () => {
  test("leaves every view of the memory empty, and does nothing the second time", () => {
    using memory = sealedMemory();
    const mapping = Mapping.open(memory.number, BYTES);
    const view = mapping.bytes.subarray(10, 20);
    mapping.release();
    mapping.release();
    expect([mapping.bytes.byteLength, view.byteLength]).toEqual([0, 0]);
    expect(view[3]).toBeUndefined();
    expect(mappingsInKernel()).toBe(0);
  });

  test("leaves memory alone that the program transferred to another buffer", async () => {
    using memory = sealedMemory();
    const mapping = Mapping.open(memory.number, BYTES);
    const moved = mapping.bytes.buffer.transfer();
    mapping.release();
    expect(mappingsInKernel()).toBe(1);
    expect(new Uint8Array(moved)[250]).toBe(250);
    expect(mapping.bytes).toHaveLength(0);
  });
});

describe("the garbage collector", () => {
  test("unmaps what nobody holds any more", async () => {
    using memory = sealedMemory();
    (() => {
      for (let count = 0; count < 20; count += 1) {
        expect(Mapping.open(memory.number, BYTES).bytes[7]).toBe(7);
      }
    })();
    expect(mappingsInKernel()).toBeGreaterThan(0);
    await collected();
    expect(mappedMemory().bytes).toBe(0);
  });

  test("leaves memory alone that the program transferred, until that is lost too", async () => {
    using memory = sealedMemory();
    await (async () => {
      const moved = Mapping.open(memory.number, BYTES).bytes.buffer.transfer();
      await eventually(() => {
        Bun.gc(true);
        return mappedMemory().mappings === 0;
      }, "the first buffer was collected");
      expect(mappingsInKernel()).toBe(1);
      expect(new Uint8Array(moved).every((byte, index) => byte === index % 251)).toBe(true);
    })();
    await collected();
  });
});
