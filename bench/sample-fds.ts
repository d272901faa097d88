/**
 * The fds that messages of a benchmark carry: memory whose size says which message it belongs to, so
 * that a receiver sees an fd that took another's place.
 */

import { fstatSync } from "node:fs";
import { createMemfd, ftruncate } from "../src/ffi/memfd.ts";
import { closeFd } from "../src/ffi/owned-fd.ts";
import { RING_PACKETS } from "./message-ring.ts";

/** A prime, so that each size has its turn. */
const LOOK_EVERY = 61;

let looks = 0;

/** One for each packet of a ring. */
export class SampleFds implements Disposable {
  readonly #sets: number[][];

  /** @param fds how many fds come with one message */
  constructor(fds: number) {
    this.#sets = Array.from({ length: fds === 0 ? 0 : RING_PACKETS }, (_, at) =>
      Array.from({ length: fds }, () => {
        const fd = createMemfd("seqbus-bench");
        ftruncate(fd, at + 1);
        return fd;
      }),
    );
  }

  /** Those of the packet `at`; none where messages carry none. Borrowed. */
  of(at: number): readonly number[] {
    return this.#sets[at] ?? NONE;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#sets.flat()) closeFd(fd);
  }
}

const NONE: readonly number[] = [];

/** Stands for an fd that came and was closed at once, without a look. */
export const CLOSED_FD = -1;

/** Whether the next fds are to be looked at: asking for each would cost more than receiving it. */
export function isLookDue(): boolean {
  looks += 1;
  return looks % LOOK_EVERY === 0;
}

/**
 * Looks whether fds belong to a message, and closes them.
 * @param fds owned
 * @param wanted how many there must be
 * @param number the message's
 * @throws {Error} where one is missing, or is that of another message
 */
export function closeSampleFds(fds: readonly number[], wanted: number, number: number): void {
  checkFdCount(fds.length, wanted, number);
  for (const fd of fds) closeSampleFd(fd, number);
}

/** The same for one. @throws {Error} where it is that of another message */
export function closeSampleFd(fd: number, number: number): void {
  const { size } = fstatSync(fd);
  closeFd(fd);
  checkSampleSize(size, number);
}

/** @throws {Error} where the file that came with a message is that of another, by its size */
export function checkSampleSize(size: number, number: number): void {
  if (size === (number % RING_PACKETS) + 1) return;
  throw new Error(`Message ${number} came with the fd of another: its size is ${size}`);
}

/** @throws {Error} where a message came with another number of fds than it was sent with */
export function checkFdCount(count: number, wanted: number, number: number): void {
  if (count !== wanted) throw new Error(`Message ${number} had ${count} fds, wanted ${wanted}`);
}
