/**
 * Connections that are not read from for now, because too many of the files that their users sent are
 * not closed yet. See fd-closer.ts.
 */

import type { FdCloser } from "../closing/fd-closer.ts";
import type { Connection } from "../connection.ts";
import type { SocketWatch } from "../socket-watch.ts";
import type { BackPressure } from "./back-pressure.ts";

/** What it works with. */
export interface HeldOffParts {
  readonly closer: Pick<FdCloser, "isStuck" | "isFull">;
  readonly watch: Pick<SocketWatch, "setReadingPaused">;
  readonly backPressure: Pick<BackPressure, "noteDrained">;
}

/** The connections that wait. */
export class HeldOff {
  readonly #parts: HeldOffParts;
  readonly #connections = new Set<Connection>();

  constructor(parts: HeldOffParts) {
    this.#parts = parts;
  }

  /** Reads no more from a connection until settle() finds that its user's files have been closed. */
  add(connection: Connection): void {
    const { watch, backPressure } = this.#parts;
    this.#connections.add(connection);
    watch.setReadingPaused(connection, true);
    // Whom it held back by a pause need not wait for a word that is not read for now.
    if (connection.isHolding) backPressure.noteDrained(connection);
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
    const { closer, watch } = this.#parts;
    for (const connection of this.#connections) {
      const { uid } = connection.identity;
      if (closer.isStuck(uid)) end(connection);
      else if (!closer.isFull(uid)) {
        this.#connections.delete(connection);
        watch.setReadingPaused(connection, false);
      }
    }
  }
}
