/**
 * The clean end of a broker: every client is told, nothing more is read, and what is queued for them
 * gets a while to leave. Closing the sockets comes after that, and is sessions.ts's.
 */

import { assert } from "../../assert.ts";
import { goodbyeBody } from "../../protocol/control-messages.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { STATUS } from "../../protocol/status-codes.ts";
import type { Connection } from "../connection.ts";
import { NEVER } from "../deadlines.ts";
import type { Reading } from "../reading/reading.ts";
import type { UserTurns } from "../reading/user-turns.ts";
import type { Replay } from "../retained/replay.ts";
import type { ControlSender } from "../routing/introductions.ts";
import type { Flusher } from "../sending/flusher.ts";
import { QUEUE_FULL } from "../sending/queue-outcomes.ts";
import type { SocketWatch } from "../socket-watch.ts";
import { SHUTDOWN_DRAIN_MS } from "./limits.ts";

/** What is brought to its end. */
export interface ShutdownParts {
  readonly table: { all(): Iterable<Connection> };
  readonly reading: Pick<Reading, "clear">;
  readonly turns: Pick<UserTurns, "clear">;
  readonly replay: Pick<Replay, "clear">;
  readonly watch: Pick<SocketWatch, "stopReading">;
  readonly flusher: Pick<Flusher, "flushAll">;
  readonly send: ControlSender;
  /** Closes a client that does not read what it was sent. */
  readonly evict: (connection: Connection) => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** The end of one broker. */
export class Shutdown {
  readonly #parts: ShutdownParts;
  #hasBegun = false;
  #endsAt = NEVER;

  constructor(parts: ShutdownParts) {
    this.#parts = parts;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** When it is done at the latest; Infinity before it has begun. */
  get deadline(): number {
    return this.#endsAt;
  }

  /** Says goodbye to everybody and reads no more. To be called once. */
  begin(): void {
    const { table, reading, turns, replay, watch, flusher, send, evict, now } = this.#parts;
    assert(!this.#hasBegun, "a broker is shut down once");
    this.#hasBegun = true;
    this.#endsAt = now() + SHUTDOWN_DRAIN_MS;
    const message = "The broker is shutting down";
    const body = goodbyeBody({ status: STATUS.CLOSED_BY_BROKER, message });
    reading.clear();
    turns.clear();
    replay.clear();
    for (const connection of table.all()) {
      if (connection.state === "DOOMED") continue;
      watch.stopReading(connection);
      if (connection.queue.tellGaps() === QUEUE_FULL) evict(connection);
      send(connection, { opcode: OPCODE.GOODBYE, id: 0, body });
    }
    flusher.flushAll();
  }

  /** Whether it has begun, and nobody is waited for any more. */
  isDone(): boolean {
    return this.isDrained() || this.#parts.now() >= this.#endsAt;
  }

  /** Whether it has begun, and every client has taken all that is meant for it. */
  isDrained(): boolean {
    if (!this.#hasBegun) return false;
    for (const connection of this.#parts.table.all()) {
      if (connection.state !== "DOOMED" && !connection.queue.isEmpty) return false;
    }
    return true;
  }
}
