/**
 * Closes connections that have ended, whatever brought the end about: takes them out of all tables,
 * tells who heard of them, and closes their sockets. A few at a time, at the end of a turn.
 */

import type { PacketReceiver } from "../ffi/ancillary.ts";
import { shutdownBoth } from "../ffi/seqpacket.ts";
import { RECORD_TRUNCATED } from "../ffi/syscall-result.ts";
import type { Area } from "./area.ts";
import type { BusState } from "./bus-state.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionTable } from "./connection-table.ts";
import type { Cause } from "./endings.ts";
import type { BrokerEventListener } from "./events.ts";
import type { FdBudget } from "./fd-budget.ts";
import type { Introductions } from "./introductions.ts";
import { DISCARDED_PACKETS_MAX } from "./limits.ts";
import type { LingeringSockets } from "./lingering-sockets.ts";
import type { SocketWatch } from "./socket-watch.ts";

/** What connections are taken out of. */
export interface BurialParts {
  readonly state: BusState;
  readonly areas: readonly Area[];
  readonly introductions: Introductions;
  readonly table: ConnectionTable;
  readonly watch: SocketWatch;
  readonly lingering: LingeringSockets;
  readonly budget: FdBudget;
  /** Receives what is thrown away; holds no fds in between. */
  readonly receiver: PacketReceiver;
  readonly onEvent: BrokerEventListener;
}

/** Connections that are to be closed. */
export class Burials {
  readonly #parts: BurialParts;
  /** Oldest first. */
  readonly #doomed = new Map<Connection, Cause | undefined>();

  constructor(parts: BurialParts) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#doomed.size === 0;
  }

  /**
   * Adds a connection, behind all others.
   * @param cause why, where it is not the client's own wish
   */
  add(connection: Connection, cause: Cause | undefined): void {
    this.#doomed.set(connection, cause);
  }

  /** Closes while there is time; one connection at least. */
  run(hasTime: () => boolean): void {
    for (const [connection, cause] of this.#doomed) {
      this.#doomed.delete(connection);
      this.#bury(connection, cause);
      if (!hasTime()) return;
    }
  }

  #bury(connection: Connection, cause: Cause | undefined): void {
    const { state, areas, introductions, table, watch, lingering, budget } = this.#parts;
    for (const area of areas) area.leave(connection);
    introductions.announceGone(connection, state.leave(connection));
    watch.remove(connection);
    this.#hangUp(connection);
    lingering.keep(connection);
    connection.socket.close();
    connection.lane?.close();
    table.remove(connection);
    if (!connection.isExtra) budget.removeConnection();
    connection.quota.close();
    const { id, identity } = connection;
    const { code, message } = cause ?? { code: undefined, message: undefined };
    this.#parts.onEvent({ type: "disconnected", connection: id, identity, code, message });
  }

  /**
   * Ends the streams so that the client can still read what it was sent: closing a socket with
   * unread packets would turn into ECONNRESET at the other end.
   */
  #hangUp({ socket, lane }: Connection): void {
    shutdownBoth(socket.number);
    if (lane !== undefined) shutdownBoth(lane.number);
    const { receiver } = this.#parts;
    for (let packets = 0; packets < DISCARDED_PACKETS_MAX; packets += 1) {
      const bytes = receiver.receive(socket.number);
      receiver.closeFds();
      if (bytes < 0 && bytes !== RECORD_TRUNCATED) return;
    }
  }
}
