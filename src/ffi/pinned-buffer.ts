/**
 * Memory that the kernel may be pointed at. JavaScriptCore moves typed arrays of 1000 bytes or less
 * when their `buffer` is first touched; views on an ArrayBuffer made beforehand never move. So all
 * memory whose address is kept must come from here.
 *
 * Never transfer or resize `bytes.buffer`: the address would dangle.
 */

import { type Pointer, ptr } from "bun:ffi";
import { AssertionError, assert } from "../assert.ts";
import { libc } from "./libc.ts";

/** Bytes of memory with a fixed address, zeroed, freed with the object. */
export class PinnedBuffer {
  readonly byteLength: number;
  /** All of it as bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The same memory as little-endian u32; a rest of 1 to 3 bytes is left out. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Where it starts, a multiple of 8. Good only while this object is referenced. */
  readonly address: number;

  /** @param byteLength 1 or more */
  constructor(byteLength: number) {
    assert(Number.isSafeInteger(byteLength), "the length of a PinnedBuffer is an integer");
    assert(byteLength >= 1, "a PinnedBuffer is not empty");
    const memory = new ArrayBuffer(byteLength);
    this.byteLength = byteLength;
    this.bytes = new Uint8Array(memory);
    this.words = new Uint32Array(memory, 0, byteLength >>> 2);
    this.address = ptr(this.bytes);
    assert(this.address % 8 === 0, "the allocator aligns to 8 bytes");
  }
}

/**
 * States that a range lies inside a buffer. Stands before every call that hands the range to C, and
 * allocates nothing. NaN fails too.
 * @throws {AssertionError} where it does not
 */
export function assertRange(buffer: PinnedBuffer, offset: number, bytes: number): void {
  if (!(offset >= 0 && bytes >= 0 && offset + bytes <= buffer.byteLength)) {
    throw new AssertionError(
      `Range of ${bytes} bytes at ${offset} lies outside a buffer of ${buffer.byteLength} bytes`,
    );
  }
}

/**
 * memcpy(3) between two buffers, or between two ranges of one that do not overlap.
 *
 * Always memcpy. Measured on x86-64 (ns, FFI call / loop over u32 words): 16 B 5.6 / 2.2, 32 B 5.4 /
 * 3.5, 64 B 5.5 / 6.2, 80 B 5.7 / 7.6, 1 KiB 10 / 91, 32 KiB 261 / 2878. A loop wins only below
 * 48 bytes, by 2 to 3 ns: too little for a second path with alignment rules of its own. (A loop over
 * doubles is faster than one over words, but may change bits that look like a NaN.)
 * @param source borrowed
 * @param target borrowed
 * @param bytes 0 or more
 * @throws {AssertionError} for a range outside its buffer
 */
export function copyPinned(
  source: PinnedBuffer,
  sourceOffset: number,
  target: PinnedBuffer,
  targetOffset: number,
  bytes: number,
): void {
  assertRange(source, sourceOffset, bytes);
  assertRange(target, targetOffset, bytes);
  libc.memcpy(
    (target.address + targetOffset) as Pointer,
    (source.address + sourceOffset) as Pointer,
    bytes,
  );
}

/**
 * memmove(3) within one buffer; the ranges may overlap.
 * @param buffer borrowed
 * @param bytes 0 or more
 * @throws {AssertionError} for a range outside the buffer
 */
export function movePinned(
  buffer: PinnedBuffer,
  sourceOffset: number,
  targetOffset: number,
  bytes: number,
): void {
  assertRange(buffer, sourceOffset, bytes);
  assertRange(buffer, targetOffset, bytes);
  libc.memmove(
    (buffer.address + targetOffset) as Pointer,
    (buffer.address + sourceOffset) as Pointer,
    bytes,
  );
}
