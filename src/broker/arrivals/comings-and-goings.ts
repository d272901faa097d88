/**
 * Puts those who come and those who go behind those who are in: in a turn, what established clients
 * sent is handled and sent on first, and then this gets a moment. Who comes waits in the kernel, so
 * nothing is kept here from turn to turn; epoll tells of it again.
 *
 * Without that, a message would wait for every newcomer that epoll happened to name before it.
 */

import { EPOLLHUP } from "../../ffi/constants.ts";
import type { Connection } from "../connection.ts";

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
  readonly #coming = new PutOff();
  readonly #going = new PutOff();
  #mayAccept = false;
  /** Whose turn it is: 0 to accept, 1 of those who come, 2 of those who go. */
  #next = 0;

  constructor(parts: ComingsAndGoingsParts) {
    this.#parts = parts;
  }

  /** Whether run() has nothing to do. */
  get isEmpty(): boolean {
    return !this.#mayAccept && this.#coming.isEmpty && this.#going.isEmpty;
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
    if (connection.state === "AWAIT_HELLO") this.#coming.push(connection, events);
    else if ((events & EPOLLHUP) !== 0) this.#going.push(connection, events);
    else return false;
    return true;
  }

  /** Handles what was noted while there is time, one thing at least, and forgets the rest. */
  run(hasTime: () => boolean): void {
    do {
      // Each kind in turn, also from one call to the next: none keeps the others waiting for ever.
      for (let tried = 0; !this.#handleOne(); tried += 1) if (tried === 2) break;
    } while (hasTime() && !this.isEmpty);
    this.#coming.clear();
    this.#going.clear();
    this.#mayAccept = false;
  }

  /** @returns false where there was nothing of the kind whose turn it was */
  #handleOne(): boolean {
    const kind = this.#next;
    this.#next = (kind + 1) % 3;
    if (kind > 0) return (kind === 1 ? this.#coming : this.#going).handleOne(this.#parts.ready);
    if (!this.#mayAccept) return false;
    this.#mayAccept = this.#parts.accept();
    return true;
  }
}

/** Events of one kind, in order. */
class PutOff {
  readonly #connections: Connection[] = [];
  readonly #events: number[] = [];
  #handled = 0;

  get isEmpty(): boolean {
    return this.#handled === this.#connections.length;
  }

  push(connection: Connection, events: number): void {
    this.#connections.push(connection);
    this.#events.push(events);
  }

  /** @returns false where there is none left */
  handleOne(ready: ComingsAndGoingsParts["ready"]): boolean {
    const at = this.#handled;
    const connection = this.#connections[at];
    if (connection === undefined) return false;
    this.#handled += 1;
    ready(connection, this.#events[at] as number);
    return true;
  }

  clear(): void {
    this.#connections.length = 0;
    this.#events.length = 0;
    this.#handled = 0;
  }
}
