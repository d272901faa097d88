/**
 * Flushes under way, and what the next one has to say: how much may be lost, and what was denied. A
 * flush vouches for all messages before it, so a lost connection ends those that cannot any more.
 */

import { ClosedError, TimeoutError } from "../errors.ts";
import { decodeSyncAck } from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import type { Link } from "./link.ts";
import type { Publisher } from "./publisher.ts";

/** What became of the messages published since the last flush. */
export interface Receipt {
  /** Messages that the broker took. */
  readonly published: number;
  /** Pairs of a message and a client subscribed to it: `delivered` + `dropped`. */
  readonly matched: number;
  /** Of these: handed to the subscriber's socket, or put into its queue in the broker. */
  readonly delivered: number;
  /** Of these: not, because that subscriber's queue was full. It is told. */
  readonly dropped: number;
}

interface PendingFlush {
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: Error) => void;
  /** Something will call #sync() for it, or it is asked for: no need to begin again. */
  isUnderWay: boolean;
}

/** See the head of this file. */
export class Flushes {
  readonly #link: Link;
  readonly #publisher: Publisher;
  readonly #pending = new Set<PendingFlush>();
  /** Messages of this connection that a flush has vouched for. */
  #confirmed = 0;
  /** Lost with a connection, and not told to any flush yet. */
  #lost = 0;
  #firstDenial: Error | undefined;

  constructor(link: Link, publisher: Publisher) {
    this.#link = link;
    this.#publisher = publisher;
  }

  /** See Bus.flush(). */
  async flush(timeoutMs: number): Promise<Receipt> {
    if (this.#link.isClosed) throw this.#link.closedError();
    if (this.#lost > 0) throw this.#takeLoss();
    const { promise, resolve, reject } = Promise.withResolvers<Receipt>();
    const pending: PendingFlush = { resolve, reject, isUnderWay: false };
    const startedAt = performance.now();
    const timer = setTimeout(() => {
      const elapsed = Math.round(performance.now() - startedAt);
      const message = `Cannot flush: the broker did not confirm it within ${timeoutMs} ms`;
      reject(new TimeoutError("TIMEOUT_FLUSH", message, elapsed));
    }, timeoutMs);
    this.#pending.add(pending);
    this.#begin(pending);
    try {
      const receipt = await promise;
      const denial = this.#firstDenial;
      this.#firstDenial = undefined;
      if (denial !== undefined) throw denial;
      return receipt;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(pending);
    }
  }

  /** A message was refused: the next flush rejects, with the first such error. */
  noteDenied(error: Error): void {
    this.#firstDenial ??= error;
  }

  /** Messages that were sent over this connection, and that no flush has vouched for. */
  get unconfirmed(): number {
    return this.#link.outbound.messageCount - this.#confirmed;
  }

  /** Whether the next flush rejects because messages may be lost. */
  get hasLoss(): boolean {
    return this.#lost > 0;
  }

  /** The connection is lost. @param lost messages that may be */
  noteLost(lost: number): void {
    this.#confirmed = 0;
    this.#lost += lost;
    if (this.#lost === 0 || this.#pending.size === 0) return;
    const error = this.#takeLoss();
    for (const { reject } of this.#pending) reject(error);
    this.#pending.clear();
  }

  /** There is a connection again: asks there for flushes that lost nothing. */
  resume(): void {
    for (const pending of this.#pending) this.#begin(pending);
  }

  /** The end. */
  rejectAll(error: Error): void {
    for (const { reject } of this.#pending) reject(error);
    this.#pending.clear();
  }

  #begin(pending: PendingFlush): void {
    if (pending.isUnderWay || !this.#link.isConnected) return;
    pending.isUnderWay = true;
    this.#publisher.barrier(() => void this.#sync(pending));
  }

  async #sync(pending: PendingFlush): Promise<void> {
    if (!this.#pending.has(pending)) return;
    const { outbound } = this.#link;
    const vouchedFor = outbound.messageCount;
    try {
      const body = await this.#link.request(OPCODE.SYNC, undefined, "once");
      this.#confirmed = Math.max(this.#confirmed, vouchedFor);
      const { published, matched, delivered, dropped } = decodeSyncAck(body, 0, body.byteLength);
      pending.resolve({ published, matched, delivered, dropped });
    } catch (error) {
      pending.isUnderWay = false;
      // A flush that the loss of the connection has not ended goes on with the next one.
      if (this.#link.isConnected || this.#link.isClosed) pending.reject(error as Error);
    }
  }

  #takeLoss(): ClosedError {
    const count = this.#lost;
    this.#lost = 0;
    const what = count === 1 ? "1 message" : `${count} messages`;
    const message = `Cannot confirm ${what}: the connection to ${this.#link.path} was lost behind them`;
    return new ClosedError("CLOSED_DISCONNECTED", message);
  }
}
