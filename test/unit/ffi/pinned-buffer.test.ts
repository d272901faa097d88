import { ptr } from "bun:ffi";
import { expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import { copyPinned, movePinned, PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";

test("a plain small typed array moves: the reason for PinnedBuffer still holds", () => {
  const plain = new Uint8Array(64);
  const before = ptr(plain);
  expect(plain.buffer.byteLength).toBe(64);
  expect(ptr(plain)).not.toBe(before);
});

test.each([1, 2, 7, 8, 64, 999, 1000, 1001, 65_536])(
  "PinnedBuffer of %d bytes keeps its address through views, cloning and collection",
  (byteLength) => {
    const buffer = new PinnedBuffer(byteLength);
    expect(buffer.byteLength).toBe(byteLength);
    expect(buffer.bytes.buffer.byteLength).toBe(byteLength);
    buffer.bytes.subarray(0, 1).fill(0x5a);
    new DataView(buffer.bytes.buffer).setUint8(byteLength - 1, 0x5a);
    structuredClone(buffer.bytes);
    Bun.gc(true);
    expect(ptr(buffer.bytes)).toBe(
      buffer.address as typeof buffer.address & ReturnType<typeof ptr>,
    );
    expect(buffer.address % 8).toBe(0);
  },
);

test("PinnedBuffer.words shows the same memory, little-endian", () => {
  const buffer = new PinnedBuffer(11);
  expect(buffer.words.length).toBe(2);
  buffer.words[1] = 0x0102_0304;
  expect(buffer.bytes.toHex()).toBe("00000000" + "04030201" + "000000");
});

test.each([0, -1, 1.5, Number.NaN])("PinnedBuffer refuses a length of %p", (byteLength) => {
  expect(() => new PinnedBuffer(byteLength)).toThrow(AssertionError);
});

/** A buffer that holds 0, 1, 2 ... modulo 251, so no two nearby bytes are alike. */
function countingBuffer(byteLength: number): PinnedBuffer {
  const buffer = new PinnedBuffer(byteLength);
  for (let index = 0; index < byteLength; index += 1) buffer.bytes[index] = index % 251;
  return buffer;
}

test("copyPinned() copies exactly the range, at any alignment", () => {
  const source = countingBuffer(4096);
  for (const bytes of [0, 1, 3, 4, 16, 80, 1024]) {
    for (const [from, to] of [
      [0, 0],
      [1, 2],
      [8, 5],
    ] as const) {
      const target = new PinnedBuffer(4096);
      copyPinned(source, from, target, to, bytes);
      const expected = new Uint8Array(4096);
      expected.set(source.bytes.subarray(from, from + bytes), to);
      expect(target.bytes).toEqual(expected);
    }
  }
});

test("copyPinned() takes ranges that end with their buffers", () => {
  const source = countingBuffer(32);
  const target = new PinnedBuffer(16);
  copyPinned(source, 16, target, 0, 16);
  expect(target.bytes).toEqual(source.bytes.slice(16));
});

test.each([
  ["source too short", 17, 0, 16],
  ["target too short", 0, 1, 16],
  ["negative source offset", -1, 0, 4],
  ["negative target offset", 0, -1, 4],
  ["negative length", 4, 4, -1],
  ["NaN length", 0, 0, Number.NaN],
  ["NaN source offset", Number.NaN, 0, 4],
  ["NaN target offset", 0, Number.NaN, 4],
])("copyPinned() refuses: %s", (_name, from, to, bytes) => {
  const target = new PinnedBuffer(16);
  expect(() => copyPinned(countingBuffer(32), from, target, to, bytes)).toThrow(AssertionError);
  expect(target.bytes.every((byte) => byte === 0)).toBe(true);
});

test("movePinned() moves overlapping ranges either way", () => {
  const forward = countingBuffer(64);
  movePinned(forward, 0, 8, 48);
  expect(forward.bytes.slice(8, 56)).toEqual(countingBuffer(64).bytes.slice(0, 48));
  const backward = countingBuffer(64);
  movePinned(backward, 8, 0, 48);
  expect(backward.bytes.slice(0, 48)).toEqual(countingBuffer(64).bytes.slice(8, 56));
});

test("movePinned() refuses ranges outside the buffer", () => {
  const buffer = countingBuffer(64);
  expect(() => movePinned(buffer, 32, 0, 33)).toThrow(AssertionError);
  expect(() => movePinned(buffer, 0, 32, 33)).toThrow(AssertionError);
  expect(buffer.bytes).toEqual(countingBuffer(64).bytes);
});
