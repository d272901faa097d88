/**
 * Puts those who come and those who go behind those who are in: in a turn, what established clients
 * sent is handled and sent on first, and then this gets a moment. Who comes waits in the kernel, so
 * nothing is kept here from turn to turn; epoll tells of it again.
 *
 * Without that, a message would wait for every newcomer that epoll happened to name before it.
 */

import { EPOLLHUP } from "../ffi/constants.ts";
import type { Connection } from "./connection.ts";

/** What is done in that moment. */
export interface ComingsAndGoingsParts {
  /** Lets somebody in. @returns whether somebody else may be waiting */
  readonly accept: () => boolean;
  /** Handles an event that was put off; the connection may have ended meanwhile. */
  readonly ready: (connection: Connection, events: number) => void;
}

/** Events of one turn that can wait for its end. */
export class ComingsAndGoings {
  readonly #parts: ComingsAndGoingsParts;
  readonly #connections: Connection[] = [];
  readonly #events: number[] = [];
  #mayAccept = false;
  #isAcceptNext = false;

  constructor(parts: ComingsAndGoingsParts) {
    this.#parts = parts;
  }

  /** Whether run() has nothing to do. */
  get isEmpty(): boolean {
    return !this.#mayAccept && this.#connections.length === 0;
  }

  /** Somebody wishes to connect. */
  noteListener(): void {
    this.#mayAccept = true;
  }

  /**
   * Takes an event of somebody who has not been welcomed yet, or who has gone. One who is being buried
   * has nothing left to be handled.
   * @returns false where the client is neither, and the event is to be handled now
   */
  note(connection: Connection, events: number): boolean {
    // Its burial is under way, and epoll tells of its end until then: that takes nobody's moment.
    if (connection.state === "DOOMED") return true;
    if (connection.state !== "AWAIT_HELLO" && (events & EPOLLHUP) === 0) return false;
    this.#connections.push(connection);
    this.#events.push(events);
    return true;
  }

  /** Handles what was noted while there is time, one thing at least, and forgets the rest. */
  run(hasTime: () => boolean): void {
    const count = this.#connections.length;
    let index = 0;
    while (index < count || this.#mayAccept) {
      // Each in turn, also from one call to the next: neither keeps the other waiting for ever.
      this.#isAcceptNext = !this.#isAcceptNext;
      if (this.#mayAccept && (this.#isAcceptNext || index === count)) {
        this.#mayAccept = this.#parts.accept();
      } else if (index < count) {
        this.#parts.ready(this.#connections[index] as Connection, this.#events[index] as number);
        index += 1;
      }
      if (!hasTime()) break;
    }
    this.#connections.length = 0;
    this.#events.length = 0;
    this.#mayAccept = false;
  }
}
