/**
 * mmap(2) of memory from others, as bytes that JavaScript can reach and never outlive.
 *
 * What owns the mapping is the ArrayBuffer itself: munmap(2) is its deallocator. So the memory goes
 * away when the last ArrayBuffer over it is collected, also where a program transferred it to
 * another one or to a Worker, and release() can end it earlier by detaching: then every view of it
 * is empty, and no access can fault. Never call munmap() on a mapping by hand.
 *
 * The pages are shared with everybody who has the memory, until the program writes to one: then it
 * gets a copy of that page (MAP_PRIVATE). A mapping that may only be read would kill a program that
 * writes to it, with SIGSEGV; and before Linux 6.7 memory with F_SEAL_WRITE can be mapped no other
 * way. Map only memory that cannot shrink, or an access behind its new end kills the process.
 */

import { type Pointer, toArrayBuffer } from "bun:ffi";
import { assert } from "../assert.ts";
import { MAP_PRIVATE, PROT_READ, PROT_WRITE } from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** The form with a deallocator, called as `deallocate(address, context)`; Bun's types lack it. */
const toOwningArrayBuffer = toArrayBuffer as (
  address: Pointer,
  offset: number,
  bytes: number,
  context: number,
  deallocate: number,
) => ArrayBuffer;

/** munmap(address, length): the signature of a deallocator, with the length as its context. */
const MUNMAP = (libc.munmap as unknown as { readonly ptr: number }).ptr;
assert(Number.isSafeInteger(MUNMAP), "the runtime tells where a C function is");

/** What is mapped in this process. */
export interface MappedMemory {
  /** How many mappings. */
  readonly mappings: number;
  /** What they hold together. */
  readonly bytes: number;
}

let mappings = 0;
let mappedBytes = 0;

/** Keeps the figures right where nobody called release(). */
const COLLECTED = new FinalizationRegistry<number>(uncount);

/**
 * How much is mapped now. Mappings that the garbage collector ends are counted until it has said so.
 */
export function mappedMemory(): MappedMemory {
  return { mappings, bytes: mappedBytes };
}

/** Mapped memory of one fd, from its start. */
export class Mapping {
  /** Empty after release(). */
  readonly bytes: Uint8Array<ArrayBuffer>;

  private constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
  }

  /**
   * mmap(2), private. Pages are read in when they are first touched.
   * @param fd open for reading, borrowed: it may be closed at once
   * @param byteLength 1 or more, and no more than the memory has
   * @throws {ArgumentError} ARGUMENT_FD
   * @throws {SyscallError} ENOMEM (no room, or too many mappings), ENODEV (cannot be mapped), EACCES
   */
  static open(fd: number, byteLength: number): Mapping {
    assertFd(fd, "fd");
    assert(Number.isSafeInteger(byteLength), "a length is a whole number of bytes");
    assert(byteLength >= 1, "a mapping is not empty");
    const address = libc.mmap(null, byteLength, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    // MAP_FAILED is beyond what a number can hold, so it comes as a bigint.
    if (typeof address !== "number") throw syscallError("mmap", lastErrno(), `fd ${fd}`);
    const buffer = toOwningArrayBuffer(address, 0, byteLength, byteLength, MUNMAP);
    mappings += 1;
    mappedBytes += byteLength;
    COLLECTED.register(buffer, byteLength, buffer);
    return new Mapping(new Uint8Array(buffer));
  }

  /**
   * Unmaps now; every view of the memory is empty from then on. Does nothing the second time. Where
   * the program has transferred the memory elsewhere, or the runtime is still reading it (a write to
   * a file that is under way), it stays until the garbage collector finds it unused.
   */
  release(): void {
    const { buffer } = this.bytes;
    if (buffer.detached) return;
    const byteLength = buffer.byteLength;
    buffer.transfer(0);
    if (!buffer.detached) return;
    COLLECTED.unregister(buffer);
    uncount(byteLength);
  }
}

function uncount(byteLength: number): void {
  mappings -= 1;
  mappedBytes -= byteLength;
}
