/**
 * The life of a bus as data: every thing that happened to it and is not the answer to a call.
 * Nothing is lost silently: a denial, a gap, an end all come by here, and what is not taken is counted.
 */

import type { LimitError, RejectedError } from "../errors.ts";
import type { Self } from "./dial.ts";
import { STATUS_EVENTS_MAX } from "./limits.ts";
import type { Sender } from "./message.ts";

/**
 * So many events stood in this place. Nobody took them in time, and the newer ones, which follow, were
 * kept.
 */
export interface MissedEvents {
  readonly type: "missed";
  readonly count: number;
}

/** One event. */
export type StatusEvent =
  | MissedEvents
  /**
   * Messages that this client should have got are missing. Topic undefined: several topics. Count
   * undefined: nobody can know, since the connection was lost.
   */
  | {
      readonly type: "gap";
      readonly topic: string | undefined;
      readonly count: number | undefined;
      readonly reason: GapReason;
    }
  /** Messages that were published are refused: a RejectedError or a LimitError. */
  | { readonly type: "denied"; readonly error: BusError }
  /**
   * A reload of the policy took a right away, or the broker came back without it; a subscription
   * that this ends rejects with the same.
   */
  | {
      readonly type: "revoked";
      readonly action: string;
      readonly topic: string;
      readonly error: RejectedError | LimitError;
    }
  /**
   * A subscription with the overflow policy "disconnect" has ended since too many messages waited in
   * it. Who iterates over it gets the same error; callbacks have no other way to learn of it.
   */
  | { readonly type: "subscription-ended"; readonly pattern: string; readonly error: LimitError }
  /** The policy was loaded anew: what was denied before may be allowed now. */
  | { readonly type: "policy-changed" }
  /**
   * The broker takes nothing of what this client sends, because a subscriber to the topic that must
   * miss nothing ("block") has not read for `heldMs`; and it goes on.
   */
  | { readonly type: "held" | "released"; readonly topic: string; readonly heldMs: number }
  /** Received fds were lost because this process may hold no more. */
  | { readonly type: "fds-lost"; readonly topic: string; readonly count: number }
  /** A handler of serve() has failed, and its caller was told the code and the text of the error. */
  | { readonly type: "request-failed"; readonly topic: string; readonly error: unknown }
  /**
   * An `onChannel` of serve() did not catch an error of this library, such as the end of its channel,
   * which is closed now. Its other side may have caused that: by garbage, or by leaving early.
   */
  | {
      readonly type: "channel-failed";
      readonly topic: string;
      readonly peer: Sender;
      readonly error: Error;
    }
  /** The connection is lost, and another one will be looked for. */
  | {
      readonly type: "disconnected";
      readonly error: BusError;
      /** Messages published since the last confirmed flush() that were sent and may be lost. */
      readonly unconfirmed: number;
    }
  /** There is a connection again, and all that was open is open. */
  | { readonly type: "connected"; readonly attempts: number; readonly self: Self }
  | {
      readonly type: "closed";
      readonly error: BusError | undefined;
      /**
       * Messages that publish() took and that never left; with an error, those besides that were
       * sent and not confirmed by a flush().
       */
      readonly unconfirmed: number;
    };

/**
 * Where messages got lost: in the broker's queue for us ("send-queue-full"), or in our subscription's
 * own ("subscription-full"); in one of them, because newer ones were wanted more ("oldest-dropped",
 * "superseded"); or a large one on its way, since the kernel did not pass its body on
 * ("body-refused"), it waited too long ("body-expired"), or this process may hold no more fds
 * ("body-lost"). "disconnected": published while there was no connection, or on its way when it was
 * lost.
 */
export type GapReason =
  | "send-queue-full"
  | "subscription-full"
  | "oldest-dropped"
  | "superseded"
  | "body-expired"
  | "body-refused"
  | "body-lost"
  | "disconnected"
  | "unknown";

/** What ends a bus or a connection, or refuses a message: of a class that docs/errors.md lists. */
export interface BusError extends Error {
  /** As docs/errors.md lists them. Undefined for what is no error of seqbus. */
  readonly code?: string;
}

/** Events for any number of readers, each with a bounded queue of its own. */
export class StatusFeed<Event = StatusEvent> {
  readonly #readers = new Set<StatusReader<Event>>();

  /** A new reader, which sees events from now on. */
  open(): AsyncIterableIterator<Event | MissedEvents> {
    const reader = new StatusReader<Event>(() => this.#readers.delete(reader));
    this.#readers.add(reader);
    return reader;
  }

  /** Gives an event to every reader. */
  emit(event: Event): void {
    for (const reader of this.#readers) reader.push(event);
  }

  /** Ends all readers after what they still have. */
  end(): void {
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
  }
}

class StatusReader<Event> implements AsyncIterableIterator<Event | MissedEvents> {
  readonly #events: Event[] = [];
  readonly #leave: () => void;
  /** Events that stood before all of these. */
  #missed = 0;
  #waiting: ((result: IteratorResult<Event>) => void)[] = [];
  #isEnded = false;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  push(event: Event): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) waiting({ done: false, value: event });
    else {
      if (this.#events.length >= STATUS_EVENTS_MAX) {
        this.#events.shift();
        this.#missed += 1;
      }
      this.#events.push(event);
    }
  }

  end(): void {
    this.#isEnded = true;
    for (const waiting of this.#waiting.splice(0)) waiting({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<Event | MissedEvents>> {
    const count = this.#missed;
    this.#missed = 0;
    if (count > 0) return Promise.resolve({ done: false, value: { type: "missed", count } });
    const value = this.#events.shift();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<IteratorResult<Event | MissedEvents>> {
    this.#leave();
    this.end();
    this.#missed = 0;
    this.#events.length = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
