/**
 * Requests that wait for their turn at one service: in which order they are taken, and how much may
 * wait. Users take turns, and what may wait is shared by halves as the broker shares what it has
 * (docs/policy.md, Limits): a user may have at most half of what the others leave free, so that there
 * is always some room for the next. Runs nothing.
 */

import { FairQueue, type Origin } from "./fair-queue.ts";
import { SERVICE_WAITING_BYTES_MAX, SERVICE_WAITING_FDS_MAX } from "./limits.ts";

/** What a request holds while it waits; the same from its coming to its going. */
export interface WaitingRequest {
  readonly sender: Origin;
  readonly byteLength: number;
  readonly fdCount: number;
}

/** Why a request must not wait. */
export interface Excess {
  readonly limit: number;
  readonly actual: number;
}

/** What requests hold together. */
class Load {
  bytes = 0;
  fds = 0;

  add({ byteLength, fdCount }: WaitingRequest): void {
    this.bytes += byteLength;
    this.fds += fdCount;
  }

  subtract({ byteLength, fdCount }: WaitingRequest): void {
    this.bytes -= byteLength;
    this.fds -= fdCount;
  }
}

/** Of whom nothing waits; never written to. */
const NO_LOAD: Readonly<Load> = new Load();

/** See the head of this file. */
export class WaitingRequests<Request extends WaitingRequest> {
  readonly #queue = new FairQueue<Request>();
  readonly #load = new Load();
  readonly #loads = new Map<number, Load>();

  /** Requests that wait. */
  get size(): number {
    return this.#queue.size;
  }

  /** Lets a request wait. @returns undefined, or why it must not: then nothing has changed */
  push(request: Request): Excess | undefined {
    const { uid } = request.sender;
    const own = this.#loads.get(uid) ?? NO_LOAD;
    const bytes = own.bytes + request.byteLength;
    const bytesMax = shareOf(SERVICE_WAITING_BYTES_MAX, this.#load.bytes - own.bytes);
    if (bytes > bytesMax) return { limit: bytesMax, actual: bytes };
    const fds = own.fds + request.fdCount;
    const fdsMax = shareOf(SERVICE_WAITING_FDS_MAX, this.#load.fds - own.fds);
    // One without files passes, also where others have left its user less than it holds.
    if (request.fdCount > 0 && fds > fdsMax) return { limit: fdsMax, actual: fds };
    this.#queue.push(request, request.sender);
    this.#load.add(request);
    this.#loadOf(uid).add(request);
    return undefined;
  }

  /** Takes out the request whose turn it is. @returns undefined where none waits */
  shift(): Request | undefined {
    const request = this.#queue.shift();
    if (request !== undefined) this.#discharge(request);
    return request;
  }

  /** Takes out one request. @returns false where it does not wait */
  delete(request: Request): boolean {
    if (!this.#queue.delete(request)) return false;
    this.#discharge(request);
    return true;
  }

  #loadOf(uid: number): Load {
    let load = this.#loads.get(uid);
    if (load === undefined) {
      load = new Load();
      this.#loads.set(uid, load);
    }
    return load;
  }

  #discharge(request: Request): void {
    const { uid } = request.sender;
    const own = this.#loadOf(uid);
    own.subtract(request);
    this.#load.subtract(request);
    // Each holds some bytes.
    if (own.bytes === 0) this.#loads.delete(uid);
  }
}

/** What one user may have of it where the others have so much. */
function shareOf(limit: number, others: number): number {
  return Math.floor((limit - others) / 2);
}
