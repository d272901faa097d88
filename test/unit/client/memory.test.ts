import { describe, expect, test } from "bun:test";
import { fstatSync, readSync, writeSync } from "node:fs";
import { Memory } from "../../../src/client/memory.ts";
import { getSeals, SEALS_FOR_GOOD } from "../../../src/ffi/memfd.ts";
import { sealedMemoryBytes } from "../../../src/ffi/sealed-memory.ts";
import { isOpenFd } from "./simulated-transport.ts";

function contentsOf(memory: Memory): Uint8Array {
  const bytes = new Uint8Array(fstatSync(memory.fd).size);
  readSync(memory.fd, bytes, 0, bytes.byteLength, 0);
  return bytes;
}

describe("Memory", () => {
  test.each([0, 1, 100_000])("holds a copy of %d bytes", (byteLength) => {
    const bytes = new Uint8Array(byteLength).fill(7);
    using memory = Memory.from(bytes);
    bytes.fill(8);
    expect(memory.byteLength).toBe(byteLength);
    expect(contentsOf(memory)).toEqual(new Uint8Array(byteLength).fill(7));
  });

  test("takes an ArrayBuffer, and a view of a part", () => {
    const { buffer } = Uint8Array.of(1, 2, 3, 4);
    using whole = Memory.from(buffer);
    using part = Memory.from(new Uint8Array(buffer, 1, 2));
    expect([...contentsOf(whole)]).toEqual([1, 2, 3, 4]);
    expect([...contentsOf(part)]).toEqual([2, 3]);
  });

  test("can be written until seal(), and never after", () => {
    using memory = Memory.from(new Uint8Array(4));
    expect(memory.isSealed).toBe(false);
    writeSync(memory.fd, Uint8Array.of(9), 0, 1, 0);
    expect(memory.seal()).toBe(memory);
    expect(memory.seal().isSealed).toBe(true);
    expect(getSeals(memory.fd)).toBe(SEALS_FOR_GOOD);
    expect(sealedMemoryBytes(memory.fd)).toBe(4);
    expect(() => writeSync(memory.fd, Uint8Array.of(1), 0, 1, 0)).toThrow("EPERM");
  });

  test("is closed at the end of its block, once", () => {
    let fd = -1;
    {
      using memory = Memory.from(new Uint8Array(1));
      fd = memory.fd;
      memory.close();
      expect(() => memory.fd).toThrow("closed");
    }
    expect(isOpenFd(fd)).toBe(false);
  });

  test("tells how much received bodies have mapped", () => {
    expect(Memory.mapped).toEqual({ mappings: expect.any(Number), bytes: expect.any(Number) });
  });
});
