/**
 * Fds on their way from the broker's thread to a thread that closes them: a ring in shared memory,
 * with one writer and one reader. It passes numbers on and never touches an fd.
 *
 *     word 0   how many were pushed       written by the broker's thread
 *     word 1   how many are closed        written by the closing thread
 *     word 2…  the fds, number n in slot n mod CLOSING_RING_FDS
 *
 * Both counts may wrap around; only their difference means anything.
 */

import { assert } from "../../assert.ts";
import { CLOSING_RING_FDS } from "./limits.ts";

const PUSHED = 0;
const CLOSED = 1;
const SLOTS = 2;
const SLOT_MASK = CLOSING_RING_FDS - 1;

/** One end of the ring; which one is decided by the methods that are called. */
export class ClosingRing {
  /** To be handed to the other thread. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;

  /** @param memory of the other end; undefined for a new ring */
  constructor(memory?: SharedArrayBuffer) {
    const bytes = (SLOTS + CLOSING_RING_FDS) * Int32Array.BYTES_PER_ELEMENT;
    this.memory = memory ?? new SharedArrayBuffer(bytes);
    this.#words = new Int32Array(this.memory);
    assert(this.#words.length === SLOTS + CLOSING_RING_FDS, "the ring has its size");
  }

  /** Fds pushed and not closed yet: 0..CLOSING_RING_FDS. */
  get open(): number {
    return (Atomics.load(this.#words, PUSHED) - Atomics.load(this.#words, CLOSED)) | 0;
  }

  /** Writer: adds an fd and wakes the reader. Never waits; a full ring is a bug of the caller. */
  push(fd: number): void {
    assert(this.open < CLOSING_RING_FDS, "the ring has room");
    this.#words[SLOTS + (Atomics.load(this.#words, PUSHED) & SLOT_MASK)] = fd;
    Atomics.add(this.#words, PUSHED, 1);
    Atomics.notify(this.#words, PUSHED);
  }

  /** Takes back what was pushed, where the reader has ended without having closed any. */
  takeBack(): number[] {
    assert(Atomics.load(this.#words, CLOSED) === 0, "the reader never ran");
    const count = Atomics.load(this.#words, PUSHED);
    Atomics.store(this.#words, CLOSED, count);
    return Array.from(this.#words.subarray(SLOTS, SLOTS + count));
  }

  /** Reader: waits for the next fd. Not for the broker's thread. */
  next(): number {
    const closed = Atomics.load(this.#words, CLOSED);
    while (Atomics.load(this.#words, PUSHED) === closed) Atomics.wait(this.#words, PUSHED, closed);
    return this.#words[SLOTS + (closed & SLOT_MASK)] as number;
  }

  /** Reader: the fd of next() is closed. */
  noteClosed(): void {
    Atomics.add(this.#words, CLOSED, 1);
  }
}
