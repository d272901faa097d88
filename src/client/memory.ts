/**
 * Memory that a program sends: as the body of a message without copying it again for each, or as
 * one of its fds. Sealed, nobody can change it any more, so its receivers may map it.
 */

import { ArgumentError } from "../errors.ts";
import { type MappedMemory, mappedMemory } from "../ffi/mapping.ts";
import { addSeals, createMemfd, SEALS_FOR_GOOD, writeMemory } from "../ffi/memfd.ts";
import { OwnedFd } from "../ffi/owned-fd.ts";

/** What /proc/PID/fd and the like show. */
const NAME = "seqbus";

/** Closes memory that the program lost without closing it. */
const LOST_MEMORY = new FinalizationRegistry<OwnedFd>((owned) => owned.close());

/**
 * A memfd with what was written into it. Works with `using`.
 * @example
 * using image = Memory.from(pixels).seal();
 * for (const topic of ["display.left", "display.right"]) bus.publish(topic, image);
 */
export class Memory implements Disposable {
  /** How much memory the bodies of received messages have mapped in this process. */
  static get mapped(): MappedMemory {
    return mappedMemory();
  }

  readonly byteLength: number;
  readonly #owned: OwnedFd;
  #isSealed = false;

  private constructor(owned: OwnedFd, byteLength: number) {
    this.#owned = owned;
    this.byteLength = byteLength;
    LOST_MEMORY.register(this, owned, this);
  }

  /**
   * Copies bytes into new memory. It is not sealed yet, and can still be written through its fd.
   * @throws {SyscallError} EMFILE, ENOMEM, ENOSPC
   */
  static from(data: Uint8Array | ArrayBuffer): Memory {
    const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
    const owned = OwnedFd.adopt(createMemfd(NAME), { allowStandard: true });
    try {
      writeMemory(owned.number, bytes);
    } catch (error) {
      owned.close();
      throw error;
    }
    return new Memory(owned, bytes.byteLength);
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
    return this.#owned.number;
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
    this.#owned.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
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
