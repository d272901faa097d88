/**
 * Memory that a program sends: as the body of a message without copying it again for each, or as
 * one of its fds. Sealed, nobody can change it any more, so its receivers may map it.
 */

import { ArgumentError } from "../errors.ts";
import { assertFd } from "../ffi/fd-number.ts";
import { type MappedMemory, mappedMemory } from "../ffi/mapping.ts";
import { addSeals, createMemfd, SEALS_FOR_GOOD, writeMemory } from "../ffi/memfd.ts";
import { OwnedFd } from "../ffi/owned-fd.ts";
import { tooLarge } from "./fd-reader.ts";
import { MappedBytes } from "./mapped-bytes.ts";

/** What /proc/PID/fd and the like show. */
const NAME = "seqbus";

/** What memory can be made of at once; a string becomes UTF-8. */
export type MemoryPart = string | ArrayBuffer | ArrayBufferView;

/** What memory can be made of, piece by piece: a Blob, a Bun file, a stream, a generator. */
export type MemorySource = Blob | AsyncIterable<Uint8Array>;

/** Choices for filling memory from a source. */
export interface FillOptions {
  /** A source with more bytes is an error. Default: no limit but the machine's memory. */
  readonly bytesMax?: number;
}

/** Memory of this program that is not closed. */
export interface HeldMemory {
  /** How many Memory objects. */
  readonly memories: number;
  /** What they hold together. */
  readonly bytes: number;
}

let heldMemories = 0;
let heldBytes = 0;

/** What must be let go of with a Memory; apart from it, so that it can be collected. */
interface Held {
  readonly owned: OwnedFd;
  readonly byteLength: number;
}

/** Closes memory that the program lost without closing it. */
const LOST_MEMORY = new FinalizationRegistry<Held>(letGo);

/**
 * A memfd with what was written into it. Works with `using`.
 * @example
 * using image = Memory.from(pixels).seal();
 * for (const topic of ["display.left", "display.right"]) bus.publish(topic, image);
 * bus.publish("files.opened", { name: "image" }, { fds: [image] });
 */
export class Memory implements Disposable {
  /** How much memory of others is mapped in this process: bodies of messages, and by map(). */
  static get mapped(): MappedMemory {
    return mappedMemory();
  }

  /** How much memory this program holds to send it; what was sent already is not counted. */
  static get held(): HeldMemory {
    return { memories: heldMemories, bytes: heldBytes };
  }

  readonly byteLength: number;
  readonly #held: Held;
  #isSealed = false;

  private constructor(owned: OwnedFd, byteLength: number) {
    this.#held = { owned, byteLength };
    this.byteLength = byteLength;
    heldMemories += 1;
    heldBytes += byteLength;
    LOST_MEMORY.register(this, this.#held, this);
  }

  /**
   * Copies bytes into new memory. It is not sealed yet, and can still be written through its fd.
   * @param data one part, or several to stand one behind the other
   * @throws {ArgumentError} ARGUMENT_DATA
   * @throws {SyscallError} EMFILE, ENOMEM, ENOSPC
   */
  static from(data: MemoryPart | readonly MemoryPart[]): Memory {
    const parts = (Array.isArray(data) ? data : [data]).map(bytesOf);
    using draft = new Draft();
    for (const part of parts) draft.append(part);
    return draft.finish((owned, bytes) => new Memory(owned, bytes));
  }

  /**
   * Copies all that a source holds into new memory, piece by piece.
   * @throws {LimitError} LIMIT_FILE_BYTES
   * @throws {SyscallError} EMFILE, ENOMEM, ENOSPC; and what the source throws
   */
  static async fill(source: MemorySource, options: FillOptions = {}): Promise<Memory> {
    const { bytesMax = Number.POSITIVE_INFINITY } = options;
    using draft = new Draft();
    for await (const piece of source instanceof Blob ? source.stream() : source) {
      draft.append(bytesOf(piece));
      const actual = draft.byteLength;
      if (actual > bytesMax) throw tooLarge("fill memory from source", { limit: bytesMax, actual });
    }
    return draft.finish((owned, bytes) => new Memory(owned, bytes));
  }

  /**
   * Maps sealed memory that was received as a file. The fd may be closed at once.
   * @param file borrowed: a received fd, or a number
   * @throws {DataError} DATA_NOT_SEALED for anything that could change, shrink or fail under a reader
   * @throws {LimitError} LIMIT_FILE_BYTES above 4 GiB
   * @throws {SyscallError} ENOMEM where there is no room, or there are too many mappings
   * @throws {ArgumentError} ARGUMENT_FD
   * @example
   * for await (const { fds } of frames) {
   *   using file = fds.take(0);
   *   using frame = Memory.map(file);
   *   show(frame.bytes);
   * }
   */
  static map(file: number | { readonly fd: number }): MappedBytes {
    const fd: unknown = typeof file === "number" ? file : file?.fd;
    assertFd(fd, "file");
    return MappedBytes.open(fd);
  }

  /** True once nobody can change it any more. */
  get isSealed(): boolean {
    return this.#isSealed;
  }

  /**
   * The number, for calls that borrow it. It is good until close().
   * @throws {DataError} DATA_FDS_TAKEN afterwards
   */
  get fd(): number {
    return this.#held.owned.number;
  }

  /**
   * Seals it for good: neither its bytes nor its size will ever change, whoever has its fd.
   * @returns itself
   * @throws {SyscallError} EBUSY while it is mapped somewhere for writing
   */
  seal(): this {
    if (this.#isSealed) return this;
    addSeals(this.fd, SEALS_FOR_GOOD);
    this.#isSealed = true;
    return this;
  }

  /** Closes it here; what was sent of it lives on. Does nothing the second time. */
  close(): void {
    LOST_MEMORY.unregister(this);
    letGo(this.#held);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Memory that is being written; closed at the end of a `using` block unless it was finished. */
class Draft implements Disposable {
  byteLength = 0;
  readonly #owned = OwnedFd.adopt(createMemfd(NAME), { allowStandard: true });
  #isFinished = false;

  append(bytes: Uint8Array): void {
    writeMemory(this.#owned.number, bytes, this.byteLength);
    this.byteLength += bytes.byteLength;
  }

  /** @param make takes the memory over */
  finish(make: (owned: OwnedFd, byteLength: number) => Memory): Memory {
    this.#isFinished = true;
    return make(this.#owned, this.byteLength);
  }

  [Symbol.dispose](): void {
    if (!this.#isFinished) this.#owned.close();
  }
}

function letGo({ owned, byteLength }: Held): void {
  if (!owned.isOpen) return;
  heldMemories -= 1;
  heldBytes -= byteLength;
  owned.close();
}

function bytesOf(part: MemoryPart): Uint8Array {
  if (typeof part === "string") return new TextEncoder().encode(part);
  if (part instanceof Uint8Array) return part;
  if (part instanceof ArrayBuffer) return new Uint8Array(part);
  if (ArrayBuffer.isView(part)) {
    return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
  }
  const message = "Cannot fill memory: each part must be a string, an ArrayBuffer or a view of one";
  throw new ArgumentError("ARGUMENT_DATA", message, "data");
}

/**
 * States that memory can be a body.
 * @throws {ArgumentError} ARGUMENT_DATA
 */
export function assertSealed(memory: Memory): void {
  if (memory.isSealed) return;
  const message = "Cannot publish memory: it must be sealed, with seal(), before it is sent";
  throw new ArgumentError("ARGUMENT_DATA", message, "data");
}
