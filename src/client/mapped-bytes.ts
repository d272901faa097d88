/**
 * Sealed memory that came as a file, mapped: as much of it is read as is touched, and nothing is
 * copied. What is not sealed is refused, since its sender could change it under its reader, or kill
 * the reader by making it smaller.
 */

import { DataError } from "../errors.ts";
import { Mapping } from "../ffi/mapping.ts";
import {
  HAS_HOLES,
  NOT_MEMORY,
  NOT_READABLE,
  NOT_SEALED,
  sealedMemoryBytes,
} from "../ffi/sealed-memory.ts";
import { tooLarge } from "./fd-reader.ts";
import { MAPPING_BYTES_MAX } from "./limits.ts";

/** Why each answer of sealedMemoryBytes() is a refusal. */
const REASONS: ReadonlyMap<number, string> = new Map([
  [NOT_MEMORY, "it is no memory"],
  [NOT_SEALED, "it is memory that can still be changed"],
  [NOT_READABLE, "it is not open for reading"],
  [HAS_HOLES, "parts of it were never written"],
]);

/**
 * Mapped memory. Works with `using`; without it the garbage collector unmaps it. Who writes to the
 * bytes changes a copy that nobody else sees.
 */
export class MappedBytes implements Disposable {
  /** How many bytes are mapped. Stays what it was after close(). */
  readonly byteLength: number;
  readonly #mapping: Mapping | undefined;
  readonly #bytes: Uint8Array<ArrayBuffer>;

  private constructor(mapping: Mapping | undefined) {
    this.#mapping = mapping;
    this.#bytes = mapping?.bytes ?? new Uint8Array(0);
    this.byteLength = this.#bytes.byteLength;
  }

  /**
   * mmap(2), see Memory.map().
   * @param fd borrowed: it may be closed at once
   */
  static open(fd: number): MappedBytes {
    const bytes = sealedMemoryBytes(fd);
    const reason = REASONS.get(bytes);
    if (reason !== undefined) {
      throw new DataError("DATA_NOT_SEALED", `Cannot map fd ${fd}: ${reason}`);
    }
    const limit = MAPPING_BYTES_MAX;
    if (bytes > limit) throw tooLarge(`map fd ${fd}`, { limit, actual: bytes });
    return new MappedBytes(bytes === 0 ? undefined : Mapping.open(fd, bytes));
  }

  /** All of it; empty after close(), as is every view of it. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Unmaps it. Does nothing the second time. */
  close(): void {
    this.#mapping?.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
