/** Requests that wait for the broker's ACK or ERROR, by request id. */

import { ProtocolError } from "../errors.ts";

interface Pending {
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

const IDS_MAX = 0xffff_ffff;

/** Ids and promises of requests. */
export class PendingRequests {
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  /**
   * Starts a request.
   * @returns its id, and a promise of the ACK's body bytes
   */
  open(): { id: number; answer: Promise<Uint8Array> } {
    this.#lastId = this.#lastId === IDS_MAX ? 1 : this.#lastId + 1;
    const id = this.#lastId;
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
    });
    return { id, answer };
  }

  /**
   * An ACK came.
   * @throws {ProtocolError} PROTOCOL_REQUEST_ID where nobody waits for it
   */
  resolve(id: number, body: Uint8Array): void {
    this.#take(id).resolve(body);
  }

  /** An ERROR with a request id came. Throws as resolve(). */
  reject(id: number, error: Error): void {
    this.#take(id).reject(error);
  }

  /** The connection is gone: nothing will be answered any more. */
  rejectAll(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  #take(id: number): Pending {
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      throw new ProtocolError(
        "PROTOCOL_REQUEST_ID",
        `Cannot take answer: no request has the id ${id}`,
      );
    }
    this.#pending.delete(id);
    return pending;
  }
}
