/**
 * Requests that wait for the broker's ACK or ERROR, and calls that wait for a reply, by request id:
 * they share the numbers.
 */

import { ProtocolError } from "../errors.ts";

/** Who waits for an answer. Both are called while the packet is taken apart, so before what follows it. */
export interface Waiter {
  /** An ACK came. */
  resolve(body: Uint8Array): void;
  /** An ERROR came, or the bus has ended. */
  reject(error: Error): void;
}

const IDS_MAX = 0xffff_ffff;

/** Ids and waiters of requests. */
export class PendingRequests {
  readonly #pending = new Map<number, Waiter>();
  /** Told when the first answer is awaited, and when none is any more. */
  onAwaited: (isAwaited: boolean) => void = () => {};
  #lastId = 0;
  #hasWrapped = false;

  /** Starts a request. @returns its id */
  add(waiter: Waiter): number {
    do {
      if (this.#lastId === IDS_MAX) this.#hasWrapped = true;
      this.#lastId = this.#lastId === IDS_MAX ? 1 : this.#lastId + 1;
    } while (this.#pending.has(this.#lastId));
    this.#pending.set(this.#lastId, waiter);
    if (this.#pending.size === 1) this.onAwaited(true);
    return this.#lastId;
  }

  /** Who waits under this id, if anybody. */
  find(id: number): Waiter | undefined {
    return this.#pending.get(id);
  }

  /** Nobody waits for this id any more. */
  remove(id: number): void {
    this.#take(id);
  }

  /**
   * An ACK came.
   * @throws {ProtocolError} PROTOCOL_REQUEST_ID where nobody waits for it
   */
  resolve(id: number, body: Uint8Array): void {
    const waiter = this.#take(id);
    if (waiter === undefined) throw unknownId(id);
    waiter.resolve(body);
  }

  /**
   * An ERROR with a request id came. For a call that was given up it may have been on its way then.
   * @throws {ProtocolError} PROTOCOL_REQUEST_ID where there never was such a request
   */
  reject(id: number, error: Error): void {
    const waiter = this.#take(id);
    if (waiter === undefined && !this.wasGiven(id)) throw unknownId(id);
    waiter?.reject(error);
  }

  /** Whether a request ever had this id. */
  wasGiven(id: number): boolean {
    return this.#hasWrapped || id <= this.#lastId;
  }

  /** The connection is gone: nothing will be answered any more. */
  rejectAll(error: Error): void {
    const waiters = [...this.#pending.values()];
    this.#pending.clear();
    if (waiters.length > 0) this.onAwaited(false);
    for (const waiter of waiters) waiter.reject(error);
  }

  #take(id: number): Waiter | undefined {
    const waiter = this.#pending.get(id);
    if (this.#pending.delete(id) && this.#pending.size === 0) this.onAwaited(false);
    return waiter;
  }
}

function unknownId(id: number): ProtocolError {
  const message = `Cannot take answer: no request has the id ${id}`;
  return new ProtocolError("PROTOCOL_REQUEST_ID", message);
}
