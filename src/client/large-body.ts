/**
 * The body of one large message: memory from another client, which the broker has checked
 * (docs/protocol.md section 9). Nothing is read or mapped before the program asks for it; small
 * ones are copied then, the others mapped.
 *
 * Invariants: the fd is closed once, on every path; what bytes() gave is empty after the last
 * release(), and never memory that is gone.
 */

import { assert } from "../assert.ts";
import { DataError, SyscallError } from "../errors.ts";
import { Mapping } from "../ffi/mapping.ts";
import { readMemory } from "../ffi/memfd.ts";
import { OwnedFd } from "../ffi/owned-fd.ts";
import { ENCODING, type Encoding } from "../protocol/opcodes.ts";
import { decodeOwnBody } from "./body-codec.ts";
import { BODY_FDS_HELD_MAX, LARGE_COPY_BYTES_MAX } from "./limits.ts";

/** Closes fds of bodies that the program dropped unread. */
const LOST_BODIES = new FinalizationRegistry<OwnedFd>((owned) => owned.close());

/** Bodies that may still hold an fd, the oldest first; beyond BODY_FDS_HELD_MAX they must not. */
const HELD: WeakRef<LargeBody>[] = [];

/** What a message needs of its body. */
export interface BodyMemory {
  bytes(): Uint8Array;
  decode(encoding: Encoding): unknown;
  retain(): BodyMemory;
  release(): void;
}

/** The body of a large message that was disposed of. */
export const RELEASED_BODY: BodyMemory = {
  bytes: throwReleased,
  decode: throwReleased,
  retain: () => RELEASED_BODY,
  release: () => {},
};

/** A large body, shared by the messages of all subscriptions that it came for. */
export class LargeBody implements BodyMemory {
  /** Length of the body. */
  readonly byteLength: number;
  readonly #owned: OwnedFd;
  #mapping: Mapping | undefined;
  #bytes: Uint8Array | undefined;
  #holders = 1;

  /** @param fd handed over */
  constructor(fd: number, byteLength: number) {
    this.byteLength = byteLength;
    this.#owned = OwnedFd.adopt(fd, { allowStandard: true });
    LOST_BODIES.register(this, this.#owned, this);
    HELD.push(new WeakRef(this));
    if (HELD.length > BODY_FDS_HELD_MAX) HELD.shift()?.deref()?.giveUpFd();
  }

  /** Adds a holder: release() is to be called once more. */
  retain(): this {
    this.#holders += 1;
    return this;
  }

  /** Takes a holder away; after the last one the body is gone, with what bytes() gave. */
  release(): void {
    assert(this.#holders > 0, "a body is released once by each holder");
    this.#holders -= 1;
    if (this.#holders > 0) return;
    this.#closeFd();
    this.#mapping?.release();
    this.#mapping = undefined;
    this.#bytes = undefined;
  }

  /**
   * The body; the same view at each call.
   * @throws {SyscallError} ENOMEM where it cannot be mapped
   */
  bytes(): Uint8Array {
    if (this.#bytes !== undefined) return this.#bytes;
    assert(this.#holders > 0, "a body is read by who holds it");
    if (this.byteLength > LARGE_COPY_BYTES_MAX) return this.#map();
    this.#bytes = this.#copy();
    this.#closeFd();
    return this.#bytes;
  }

  /**
   * The body's value. What it was decoded from is let go at once, unless the program has it.
   * @throws {DataError} DATA_DECODE
   * @throws {SyscallError} as bytes()
   */
  decode(encoding: Encoding): unknown {
    if (encoding === ENCODING.BYTES) return this.bytes();
    if (this.#bytes !== undefined) return decodeOwnBody(encoding, this.#bytes);
    assert(this.#holders > 0, "a body is read by who holds it");
    if (this.byteLength <= LARGE_COPY_BYTES_MAX) return decodeOwnBody(encoding, this.#copy());
    const mapping = Mapping.open(this.#owned.number, this.byteLength);
    try {
      return decodeOwnBody(encoding, mapping.bytes);
    } finally {
      mapping.release();
    }
  }

  /**
   * Holds the body by a mapping in place of an fd. A program may have many unread messages and few
   * fds; and the garbage collector, which is to find those that are lost, hurries for mapped bytes
   * and not for fds.
   */
  giveUpFd(): void {
    if (!this.#owned.isOpen || this.byteLength === 0) return;
    try {
      this.#map();
    } catch (error) {
      // Without room for a mapping the fd is all there is.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  #map(): Uint8Array {
    this.#mapping = Mapping.open(this.#owned.number, this.byteLength);
    this.#bytes = this.#mapping.bytes;
    this.#closeFd();
    return this.#bytes;
  }

  #copy(): Uint8Array {
    const bytes = new Uint8Array(this.byteLength);
    readMemory(this.#owned.number, bytes);
    return bytes;
  }

  #closeFd(): void {
    LOST_BODIES.unregister(this);
    this.#owned.close();
  }
}

function throwReleased(): never {
  throw new DataError(
    "DATA_BODY_RELEASED",
    "Cannot read message: its body was let go when the message was disposed of",
  );
}
