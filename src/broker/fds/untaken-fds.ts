/**
 * Fds that were sent on one socket and that its reader may not have taken yet, in the order of their
 * records, with who pays for them. Pure; how many records are unread is for the caller to find out.
 */

import { assert } from "../../assert.ts";
import { NEVER } from "../deadlines.ts";
import { type FdPayer, NOBODY_PAYS } from "./fd-bundle.ts";

/** Entries that were settled are cut off once there are so many; the others then move to the front. */
const SETTLED_KEPT = 256;

/** A queue of records with fds. Nothing is allocated for one, once the arrays have grown. */
export class UntakenFds {
  readonly #records: number[] = [];
  readonly #counts: number[] = [];
  readonly #times: number[] = [];
  readonly #payers: FdPayer[] = [];
  #head = 0;
  #count = 0;

  /** How many fds. */
  get count(): number {
    return this.#count;
  }

  /** When the oldest were sent; Infinity where there are none. */
  get oldestAt(): number {
    return this.#times[this.#head] ?? NEVER;
  }

  /**
   * Adds the fds of one record.
   * @param record its number on this socket, above all before it
   * @param sentAt milliseconds on the broker's clock
   */
  push(record: number, fds: number, payer: FdPayer, sentAt: number): void {
    assert(fds > 0, "a record without fds is not remembered");
    this.#records.push(record);
    this.#counts.push(fds);
    this.#times.push(sentAt);
    this.#payers.push(payer);
    this.#count += fds;
  }

  /** The records up to this one are known to be received: their payers are released. */
  settle(lastTaken: number): void {
    while (this.#head < this.#records.length) {
      if ((this.#records[this.#head] as number) > lastTaken) break;
      const fds = this.#counts[this.#head] as number;
      this.#count -= fds;
      (this.#payers[this.#head] as FdPayer).release(fds);
      this.#head += 1;
    }
    this.#compact();
  }

  /**
   * Nobody pays for any of them from now on, though they are still there.
   * @param areExpired whether that is because they were not taken in time
   */
  disown(areExpired: boolean): void {
    for (let index = this.#head; index < this.#records.length; index += 1) {
      const payer = this.#payers[index] as FdPayer;
      const fds = this.#counts[index] as number;
      if (areExpired) payer.expire(fds);
      else payer.release(fds);
      this.#payers[index] = NOBODY_PAYS;
    }
  }

  #compact(): void {
    const isEmpty = this.#head === this.#records.length;
    if (!isEmpty && this.#head < SETTLED_KEPT) return;
    for (const column of [this.#records, this.#counts, this.#times]) cut(column, this.#head);
    cut(this.#payers, this.#head);
    this.#head = 0;
  }
}

function cut(column: unknown[], count: number): void {
  column.copyWithin(0, count);
  column.length -= count;
}
