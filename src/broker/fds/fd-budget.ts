/**
 * The fds that the broker may have open, shared out between connections and messages on their way.
 * Some are never given out, so that it can always read its files, open its log and take an
 * administrator in. Messages get half of the rest at most: what they hold must not keep those out who
 * would take it. Pure counting.
 */

import { assert } from "../../assert.ts";
import type { LimitFigures } from "../quotas/excess.ts";
import { FDS_PER_CONNECTION, FDS_RESERVED } from "./limits.ts";

/** The fds of one broker. */
export class FdBudget {
  readonly #total: number;
  #held = 0;
  #connectionFds = 0;

  /** @param openFilesMax RLIMIT_NOFILE */
  constructor(openFilesMax: number) {
    this.#total = openFilesMax - FDS_RESERVED;
  }

  /** Files that the process may open, and those that are in use or not given out. */
  get figures(): LimitFigures {
    const actual = this.#held + this.#connectionFds + FDS_RESERVED;
    return { limit: this.#total + FDS_RESERVED, actual };
  }

  /** Fds of messages that are held now. */
  get held(): number {
    return this.#held;
  }

  /** As many connections as there can be where no message holds an fd. */
  get connectionsMax(): number {
    return Math.max(0, Math.floor(this.#total / FDS_PER_CONNECTION));
  }

  /** Fds of messages that may be held beside those that are; below 0 where there are too many. */
  get roomForFds(): number {
    const heldMax = Math.min(Math.floor(this.#total / 2), this.#total - this.#connectionFds);
    return heldMax - this.#held;
  }

  /** Whether so many fds of messages more may be held. */
  hasRoomForFds(count: number): boolean {
    return count <= this.roomForFds;
  }

  /**
   * How many fds can come in without using up those that are never given out: more than messages
   * may hold, since some that came in are only to be closed.
   */
  get roomToReserve(): number {
    return Math.max(0, this.#total - this.#held - this.#connectionFds);
  }

  hasRoomForConnection(): boolean {
    return this.#held + this.#connectionFds + FDS_PER_CONNECTION <= this.#total;
  }

  /** Fds of a message are held from now on. */
  hold(count: number): void {
    this.#held += count;
  }

  /** Fds of a message are not held any more. */
  letGo(count: number): void {
    this.#held -= count;
    assert(this.#held >= 0, "no more fds are let go than were held");
  }

  /** A connection is there, or a socket that is kept of one. */
  addConnection(): void {
    this.#connectionFds += FDS_PER_CONNECTION;
  }

  /** A connection, or a socket that was kept of one, is closed. */
  removeConnection(): void {
    this.#connectionFds -= FDS_PER_CONNECTION;
    assert(this.#connectionFds >= 0, "no more connections are removed than were added");
  }
}
