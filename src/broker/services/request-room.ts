/**
 * Room for requests in the send queue of one connection that serves. While that is at most half full
 * anybody's request gets in. Beyond, one user may have at most half of what the others leave of it, so
 * that nobody's calls are refused because somebody else sends more than the service reads:
 *
 *     0 ────────── half ───────────────────────── SEND_QUEUE_BYTES_MAX
 *     anybody's     user 7, half of the rest  │ user 8, … │ always some left
 *
 * Frames are not looked for in the queue: it is first come, first served, so what a user put in is gone
 * once as much has left as had come by then. Kept in two parts, the older and what came since, this
 * counts a user's own bytes at most twice; and too few only where messages were dropped from the queue.
 * Pure; made when a queue fills up.
 */

import type { LimitFigures } from "../quotas/excess.ts";
import { SEND_QUEUE_BYTES_MAX, SEND_QUEUE_BYTES_RESUME } from "../sending/limits.ts";

/** From so many waiting bytes on requests are counted by user. */
export const REQUESTS_SHARED_FROM = SEND_QUEUE_BYTES_RESUME;

/** What waits in a queue, and all that ever came to wait there. */
export interface QueueFlow {
  readonly queuedBytes: number;
  readonly takenBytes: number;
}

/** What one user put in. `until` is how much had come to the queue by then, of anybody. */
class Share {
  #olderBytes = 0;
  #olderUntil = 0;
  #newerBytes = 0;
  #newerUntil = 0;

  /** Bytes that may still be there where so many have left the queue. */
  held(leftBytes: number): number {
    if (leftBytes >= this.#olderUntil) {
      this.#olderBytes = this.#newerBytes;
      this.#olderUntil = this.#newerUntil;
      this.#newerBytes = 0;
      this.#newerUntil = 0;
    }
    if (leftBytes >= this.#olderUntil) this.#olderBytes = 0;
    return this.#olderBytes + this.#newerBytes;
  }

  /** More of it comes. Behind held(). */
  add(bytes: number, until: number): void {
    if (this.#olderBytes === 0) {
      this.#olderBytes = bytes;
      this.#olderUntil = until;
    } else {
      this.#newerBytes += bytes;
      this.#newerUntil = until;
    }
  }
}

/** See the head of this file. */
export class RequestRoom {
  readonly #shares = new Map<number, Share>();
  #refusal: LimitFigures = { limit: 0, actual: 0 };

  /** Why admit() said no last. */
  get refusal(): LimitFigures {
    return this.#refusal;
  }

  /**
   * Whether a request may join the queue; where it may it is counted.
   * @param flow of the queue, which has room for it
   */
  admit(uid: number, bytes: number, { queuedBytes, takenBytes }: QueueFlow): boolean {
    const share = this.#shareOf(uid);
    const own = Math.min(share.held(takenBytes - queuedBytes), queuedBytes);
    const others = queuedBytes - own;
    const limit = Math.floor((SEND_QUEUE_BYTES_MAX - others) / 2);
    if (own + bytes > limit) {
      this.#refusal = { limit, actual: own + bytes };
      return false;
    }
    share.add(bytes, takenBytes + bytes);
    return true;
  }

  #shareOf(uid: number): Share {
    let share = this.#shares.get(uid);
    if (share === undefined) {
      share = new Share();
      this.#shares.set(uid, share);
    }
    return share;
  }
}
