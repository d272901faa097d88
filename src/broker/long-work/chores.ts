/**
 * What must be done about a connection before its next packet is handled, where that can take long:
 * its rights under a policy that was replaced, or that nothing more is asked of it since it does not
 * read. Done in steps, in the background or when its packet comes, whichever is first; the packet
 * waits until all is done. So nobody sees a connection half done, and nobody else waits for it.
 */

import type { Connection } from "../connection.ts";
import type { Background } from "./background.ts";
import type { Steps } from "./fair-steps.ts";

/** A piece of such work, behind what was there before. It ends with its connection. */
class Chore implements Steps {
  readonly #connection: Connection;
  readonly #steps: Steps;
  #before: Steps | undefined;

  constructor(connection: Connection, steps: Steps) {
    this.#connection = connection;
    this.#steps = steps;
    this.#before = connection.chore;
  }

  next(): IteratorResult<void, void> {
    const connection = this.#connection;
    if (this.#before !== undefined) {
      if (this.#before.next().done === true) this.#before = undefined;
      return { done: false, value: undefined };
    }
    const isDone = connection.state === "DOOMED" || this.#steps.next().done === true;
    if (isDone && connection.chore === this) connection.chore = undefined;
    return { done: isDone, value: undefined };
  }
}

/** Chores of all connections. */
export class Chores {
  readonly #background: Background;

  constructor(background: Background) {
    this.#background = background;
  }

  /** Adds work, behind what is still to be done about the connection. */
  add(connection: Connection, steps: Steps): void {
    const chore = new Chore(connection, steps);
    connection.chore = chore;
    this.#background.addForRights(connection.identity.uid, chore);
  }

  /**
   * Goes on with what is to be done about a connection while there is time, with one step at least.
   * @returns whether all is done
   */
  finish(connection: Connection, host: { hasTime(): boolean }): boolean {
    while (connection.chore !== undefined) {
      connection.chore.next();
      if (connection.chore !== undefined && !host.hasTime()) return false;
    }
    return true;
  }
}
