/**
 * Serves the connections that have something to say, in the order that user-turns.ts gives: what is
 * left of their packets, then what waits in their sockets.
 */

import { EPOLLOUT } from "../../ffi/constants.ts";
import type { Connection } from "../connection.ts";
import type { Flusher } from "../sending/flusher.ts";
import type { SocketWatch } from "../socket-watch.ts";
import type { PacketRests } from "./packet-rests.ts";
import type { Reading } from "./reading.ts";
import { HAS_REST, type UserTurns } from "./user-turns.ts";

/** What becomes of readiness. */
export interface RoundsHost {
  /** Handles readiness of a connection, which may have ended meanwhile. */
  readonly ready: (connection: Connection, events: number) => void;
}

/** What rounds are made of. */
export interface RoundsParts {
  readonly turns: UserTurns;
  readonly reading: Pick<Reading, "goOn">;
  readonly rests: PacketRests;
  readonly watch: Pick<SocketWatch, "setAwaitingTurn">;
  readonly flusher: Pick<Flusher, "flush" | "flushAll">;
  readonly host: RoundsHost;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** The rounds of one broker, one a turn. */
export class Rounds {
  readonly #parts: RoundsParts;

  constructor(parts: RoundsParts) {
    this.#parts = parts;
    parts.rests.onPushed = (connection) => parts.turns.note(connection, HAS_REST);
  }

  /**
   * A connection's socket is ready. What waits to be sent to it leaves at once: it may be what others
   * wait for. What it has to say waits for its user's turn.
   * @param events EPOLL* bits
   */
  note(connection: Connection, events: number): void {
    const { turns, watch, flusher } = this.#parts;
    if ((events & EPOLLOUT) !== 0 && connection.state !== "DOOMED") flusher.flush(connection);
    const said = events & ~EPOLLOUT;
    if (said === 0 || connection.state === "DOOMED") return;
    if (turns.note(connection, said)) watch.setAwaitingTurn(connection, true);
  }

  /**
   * Serves every user for its share.
   * @returns whether anybody was served
   */
  run(): boolean {
    const { turns, now, flusher } = this.#parts;
    if (turns.isEmpty) return false;
    turns.beginRound();
    let at = now();
    for (let connection = turns.next(at); connection !== undefined; connection = turns.next(at)) {
      this.#serve(connection);
      const endedAt = now();
      turns.charge(endedAt - at);
      at = endedAt;
      // Whoever used less need not wait for what others say after it.
      if (!turns.isOthersTurn) continue;
      flusher.flushAll();
      at = now();
      turns.charge(at - endedAt);
    }
    return true;
  }

  #serve(connection: Connection): void {
    const { reading, rests, watch, host } = this.#parts;
    const events = connection.readyEvents;
    connection.readyEvents = 0;
    if (connection.state === "DOOMED") return;
    if (connection.awaitsTurn) watch.setAwaitingTurn(connection, false);
    // What it sent before comes first; epoll tells again of what came behind it.
    if (rests.has(connection)) return reading.goOn(connection);
    if (events !== HAS_REST) host.ready(connection, events & ~HAS_REST);
  }
}
