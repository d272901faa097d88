/**
 * Connections that are not read from for now, because too many of the files that their users sent are
 * not closed yet. See fd-closer.ts.
 */

import type { FdCloser } from "../closing/fd-closer.ts";
import type { Connection } from "../connection.ts";
import type { SocketWatch } from "../socket-watch.ts";

/** The connections that wait. */
export class HeldOff {
  readonly #closer: FdCloser;
  readonly #watch: SocketWatch;
  readonly #connections = new Set<Connection>();

  constructor(closer: FdCloser, watch: SocketWatch) {
    this.#closer = closer;
    this.#watch = watch;
  }

  /** Reads no more from a connection until settle() finds that its user's files have been closed. */
  add(connection: Connection): void {
    this.#connections.add(connection);
    this.#watch.setReadingPaused(connection, true);
  }

  /** The connection ends. */
  drop(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /**
   * Reads again from those who may send again.
   * @param end called with those that have waited too long; drops them
   */
  settle(end: (connection: Connection) => void): void {
    for (const connection of this.#connections) {
      const { uid } = connection.identity;
      if (this.#closer.isStuck(uid)) end(connection);
      else if (!this.#closer.isFull(uid)) {
        this.#connections.delete(connection);
        this.#watch.setReadingPaused(connection, false);
      }
    }
  }
}
