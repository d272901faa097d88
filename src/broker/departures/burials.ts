/**
 * Closes connections that have ended, whatever brought the end about: takes them out of all tables,
 * tells who heard of them, and has their sockets closed. In steps, at the end of a turn: one connection
 * may hold thousands of services, and thousands may die at once. Users take turns, so that nobody's
 * services wait to be handed on until all that another one had is gone.
 *
 * Invariants: from its doom on a connection gets nothing, and is chosen for nothing; each step leaves
 * all tables sound; that it is gone is told once, in the last step.
 */

import type { Area } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { ConnectionTable } from "../connection-table.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import { FairSteps } from "../long-work/fair-steps.ts";
import type { Presence } from "../presence.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { Introductions } from "../routing/introductions.ts";
import type { SocketWatch } from "../socket-watch.ts";
import type { EndedSockets } from "./ended-sockets.ts";
import type { Cause } from "./endings.ts";

/** What connections are taken out of. */
export interface BurialParts {
  readonly state: BusState;
  readonly areas: readonly Area[];
  readonly introductions: Introductions;
  readonly presence: Pick<Presence, "noteDisconnected">;
  readonly table: Pick<ConnectionTable, "remove">;
  readonly watch: Pick<SocketWatch, "unwatch" | "remove">;
  readonly sockets: Pick<EndedSockets, "drain" | "close">;
  readonly budget: Pick<FdBudget, "removeConnection">;
  readonly onEvent: BrokerEventListener;
}

/** Connections that are to be closed. */
export class Burials {
  readonly #parts: BurialParts;
  readonly #work = new FairSteps();

  constructor(parts: BurialParts) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#work.isEmpty;
  }

  /**
   * Adds a connection that is DOOMED, behind all others of its user.
   * @param cause why, where it is not the client's own wish
   */
  add(connection: Connection, cause: Cause | undefined): void {
    this.#work.add(connection.identity.uid, this.#bury(connection, cause));
  }

  /** Does steps while there is time; one at least. */
  run(hasTime: () => boolean): void {
    while (!this.#work.isEmpty) {
      this.#work.step();
      if (!hasTime()) return;
    }
  }

  *#bury(connection: Connection, cause: Cause | undefined): Generator<void, void> {
    const { state, areas, introductions, watch } = this.#parts;
    watch.unwatch(connection);
    for (const area of areas) {
      const steps = area.leave(connection);
      if (steps !== undefined) yield* steps;
    }
    yield* state.leave(connection);
    // Last, since as long as it stood in a table somebody may have been told of it.
    yield* introductions.leave(connection);
    const isDrained = yield* this.#parts.sockets.drain(connection);
    this.#close(connection, cause, isDrained);
  }

  #close(connection: Connection, cause: Cause | undefined, isDrained: boolean): void {
    const { areas, table, watch, sockets, budget } = this.#parts;
    watch.remove(connection);
    sockets.close(connection, isDrained);
    for (const area of areas) area.noteLeft?.(connection);
    table.remove(connection);
    if (!connection.isExtra) budget.removeConnection();
    connection.quota.close();
    const { id, identity, queue } = connection;
    const { code, message, figures } = cause ?? {};
    const reason = { code, message, limit: figures?.limit, actual: figures?.actual };
    const about = { ...reason, lost: queue.messagesAbandoned };
    this.#parts.presence.noteDisconnected(connection, code);
    this.#parts.onEvent({ type: "disconnected", connection: id, identity, ...about });
  }
}
