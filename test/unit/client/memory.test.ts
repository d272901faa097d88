import { describe, expect, test } from "bun:test";
import { fstatSync, openSync, readSync, writeSync } from "node:fs";
import { Memory, type MemorySource } from "../../../src/client/memory.ts";
import { ArgumentError } from "../../../src/errors.ts";
import { F_SEAL_SHRINK } from "../../../src/ffi/constants.ts";
import { addSeals, ftruncate, getSeals, SEALS_FOR_GOOD } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { sealedMemoryBytes } from "../../../src/ffi/sealed-memory.ts";
import { eventually } from "../../support/eventually.ts";
import { countingBytes, memoryOf } from "../../support/test-memory.ts";
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

  test("is UTF-8 of a string, the bytes of any view, and parts one behind the other", () => {
    using text = Memory.from("grüße");
    using floats = Memory.from(Float32Array.of(1));
    using view = Memory.from(new DataView(Uint8Array.of(1, 2, 3).buffer, 1, 1));
    using parts = Memory.from(["a", Uint8Array.of(0), new ArrayBuffer(2), "", "b"]);
    expect(new TextDecoder().decode(contentsOf(text))).toBe("grüße");
    expect([...contentsOf(floats)]).toEqual([0, 0, 0x80, 0x3f]);
    expect([...contentsOf(view)]).toEqual([2]);
    expect([...contentsOf(parts)]).toEqual([97, 0, 0, 0, 98]);
    expect(parts.byteLength).toBe(5);
  });

  test.each([[undefined], [null], [5], [{}], [["a", 5]]])("refuses %p", (data) => {
    const before = Memory.held;
    expect(() => Memory.from(data as never)).toThrow(ArgumentError);
    expect(Memory.held).toEqual(before);
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

  test("is counted until it is closed, once", () => {
    const { memories, bytes } = Memory.held;
    const memory = Memory.from(new Uint8Array(1_000));
    expect(Memory.held).toEqual({ memories: memories + 1, bytes: bytes + 1_000 });
    memory.close();
    memory.close();
    expect(Memory.held).toEqual({ memories, bytes });
  });

  test("that the program drops is closed by the garbage collector", async () => {
    const before = Memory.held;
    (() => {
      for (let count = 0; count < 10; count += 1) Memory.from("lost").seal();
    })();
    await eventually(() => {
      Bun.gc(true);
      return Memory.held.memories <= before.memories;
    }, "all memory was collected");
  });

  test("tells how much received bodies have mapped", () => {
    expect(Memory.mapped).toEqual({ mappings: expect.any(Number), bytes: expect.any(Number) });
  });
});

describe("Memory.fill()", () => {
  async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
    for (const text of texts) yield new TextEncoder().encode(text);
  }

  test.each<[string, () => MemorySource]>([
    ["a Blob", () => new Blob(["abc", "def"])],
    ["a stream", () => new Blob(["abcdef"]).stream()],
    ["a generator", () => pieces("abc", "", "def")],
  ])("takes all of %s", async (_what, source) => {
    using memory = await Memory.fill(source(), { bytesMax: 6 });
    expect(new TextDecoder().decode(contentsOf(memory))).toBe("abcdef");
    expect(memory.byteLength).toBe(6);
  });

  test("takes all of a Bun file", async () => {
    using memory = await Memory.fill(Bun.file(import.meta.path));
    expect(contentsOf(memory)).toEqual(await Bun.file(import.meta.path).bytes());
  });

  test("refuses more than bytesMax, and keeps nothing", async () => {
    const before = Memory.held;
    const filling = Memory.fill(pieces("abc", "def"), { bytesMax: 5 });
    expect(await filling.catch((error: unknown) => error)).toMatchObject({
      code: "LIMIT_FILE_BYTES",
      limit: 5,
    });
    expect(Memory.held).toEqual(before);
  });
});

describe("Memory.map()", () => {
  test.each([0, 1, 5_000, 300_000])("shows %d bytes of sealed memory", (byteLength) => {
    const bytes = countingBytes(byteLength);
    const before = Memory.mapped;
    {
      using memory = Memory.from(bytes).seal();
      using mapped = Memory.map(memory);
      memory.close();
      expect(mapped.byteLength).toBe(byteLength);
      expect(Bun.hash(mapped.bytes)).toBe(Bun.hash(bytes));
      if (byteLength > 0) expect(Memory.mapped.bytes).toBe(before.bytes + byteLength);
    }
    expect(Memory.mapped).toEqual(before);
  });

  test("leaves empty views behind when it is closed", () => {
    using memory = Memory.from("abc").seal();
    const mapped = Memory.map(memory.fd);
    const view = mapped.bytes.subarray(1);
    mapped.close();
    mapped.close();
    expect([mapped.bytes.byteLength, view.byteLength]).toEqual([0, 0]);
  });

  test("that the program drops is unmapped by the garbage collector", async () => {
    const before = Memory.mapped;
    using memory = Memory.from(new Uint8Array(10_000)).seal();
    (() => {
      for (let count = 0; count < 10; count += 1) Memory.map(memory);
    })();
    await eventually(() => {
      Bun.gc(true);
      return Memory.mapped.mappings <= before.mappings;
    }, "all mappings were collected");
  });

  const ALMOST = SEALS_FOR_GOOD & ~F_SEAL_SHRINK;
  test.each<[string, () => OwnedFd, string]>([
    ["a file", () => OwnedFd.adopt(openSync(import.meta.path, "r")), "it is no memory"],
    ["memory that may shrink", () => memoryOf(Uint8Array.of(1), ALMOST), "can still be changed"],
    ["memory without seals", () => memoryOf(Uint8Array.of(1), 0), "can still be changed"],
    ["memory with a hole", memoryWithHole, "never written"],
  ])("refuses %s", (_what, open, why) => {
    using owned = open();
    const before = Memory.mapped;
    let thrown: unknown;
    try {
      Memory.map(owned.number);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ name: "DataError", code: "DATA_NOT_SEALED" });
    expect((thrown as Error).message).toContain(why);
    expect(Memory.mapped).toEqual(before);
  });

  test.each([[undefined], [null], [-1], [1.5], ["1"], [{}]])("refuses %p", (file) => {
    expect(() => Memory.map(file as never)).toThrow(ArgumentError);
  });
});

function memoryWithHole(): OwnedFd {
  const memory = memoryOf(Uint8Array.of(1), 0);
  ftruncate(memory.number, 1_000_000);
  addSeals(memory.number, SEALS_FOR_GOOD);
  return memory;
}
