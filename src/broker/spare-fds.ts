/**
 * A few fds that the broker keeps open on nothing. When the process may open no more, they are
 * closed for as long as something takes that must not fail: letting an administrator in.
 */

import { openSync } from "node:fs";
import { closeFd } from "../ffi/owned-fd.ts";
import { SPARE_FDS } from "./limits.ts";

/** Spare fds of one process. */
export class SpareFds {
  readonly #fds: number[] = [];

  constructor() {
    this.refill();
  }

  /** Whether there is any. */
  get isHeld(): boolean {
    return this.#fds.length > 0;
  }

  /**
   * Does something with the spare fds closed, and opens them again: as many as there is room for.
   * @returns what it returned
   */
  lend<T>(use: () => T): T {
    this.close();
    try {
      return use();
    } finally {
      this.refill();
    }
  }

  /** Opens those that are missing, if there is room. */
  refill(): void {
    while (this.#fds.length < SPARE_FDS) {
      try {
        this.#fds.push(openSync("/dev/null", "r"));
      } catch {
        // There is no room, or no /dev: what is missing is missed only if an administrator comes.
        return;
      }
    }
  }

  /** Closes all. */
  close(): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
  }
}
