/**
 * The fds that came on a stream and whose message is not whole yet, first in, first out. Makes nothing
 * for a message, as seqbus's own raw client.
 */

import { closeFd } from "../../src/ffi/owned-fd.ts";
import { CLOSED_FD } from "../sample-fds.ts";

/** A power of two. Messages are taken after each read, and a read has 253 fds at most. */
const CAPACITY = 1_024;

/** fds, owned until they are shifted; CLOSED_FD for most. */
export class PendingFds {
  readonly #fds = new Int32Array(CAPACITY);
  #first = 0;
  /** How many wait. */
  length = 0;

  /** @param fd owned from here on, or CLOSED_FD */
  push(fd: number): void {
    if (this.length === CAPACITY) throw new Error("More fds came than messages to take them");
    this.#fds[(this.#first + this.length) % CAPACITY] = fd;
    this.length += 1;
  }

  /** @returns the one that came first, owned by the caller; undefined where none waits */
  shift(): number | undefined {
    if (this.length === 0) return undefined;
    const fd = this.#fds[this.#first];
    this.#first = (this.#first + 1) % CAPACITY;
    this.length -= 1;
    return fd;
  }

  /** Closes all that wait. */
  close(): void {
    for (let fd = this.shift(); fd !== undefined; fd = this.shift()) {
      if (fd !== CLOSED_FD) closeFd(fd);
    }
  }
}
