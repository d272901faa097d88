/**
 * Closes connections that have ended, whatever brought the end about: takes them out of all tables,
 * tells who heard of them, and closes their sockets. A few at a time, at the end of a turn.
 */

import { closeFd } from "../ffi/owned-fd.ts";
import { shutdownBoth } from "../ffi/seqpacket.ts";
import type { Area } from "./area.ts";
import type { BusState } from "./bus-state.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionTable } from "./connection-table.ts";
import type { Cause } from "./endings.ts";
import type { BrokerEventListener } from "./events.ts";
import type { FdBudget } from "./fd-budget.ts";
import type { FdGate } from "./fd-gate.ts";
import type { FdHost } from "./fd-intake.ts";
import type { Introductions } from "./introductions.ts";
import type { LingeringSockets } from "./lingering-sockets.ts";
import type { PacketSource } from "./packet-source.ts";
import type { Presence } from "./presence.ts";
import type { SocketWatch } from "./socket-watch.ts";

/** What connections are taken out of. */
export interface BurialParts {
  readonly state: BusState;
  readonly areas: readonly Area[];
  readonly introductions: Introductions;
  readonly presence: Presence;
  readonly table: ConnectionTable;
  readonly watch: SocketWatch;
  readonly lingering: LingeringSockets;
  readonly budget: FdBudget;
  readonly fdGate: FdGate;
  readonly files: Pick<FdHost, "closeFd">;
  readonly source: Pick<PacketSource, "discard">;
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
    const { state, areas, introductions, table, watch, budget } = this.#parts;
    for (const area of areas) area.leave(connection);
    introductions.announceGone(connection, state.leave(connection));
    watch.remove(connection);
    this.#closeSockets(connection);
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

  /**
   * Ends the streams so that the client can still read what it was sent: closing a socket with
   * unread packets would turn into ECONNRESET at the other end. And it would close the fds in them
   * right here, which may hang: so a socket with packets left is itself one that may.
   */
  #closeSockets({ socket, lane, identity, queue, quota }: Connection): void {
    const { source, lingering, files } = this.#parts;
    shutdownBoth(socket.number);
    if (lane !== undefined) shutdownBoth(lane.number);
    const isDrained = source.discard(socket.number, identity.uid);
    const { outlet } = queue;
    const keptSocket = lane ?? (isDrained ? socket : undefined);
    if (keptSocket === undefined) outlet.disown(false);
    else lingering.keep(keptSocket, outlet, quota.user, this.#closerOf(identity.uid));
    if (isDrained) socket.close();
    else files.closeFd(socket.release(), identity.uid);
    if (lane?.isOpen === true) this.#closerOf(identity.uid)(lane.release());
  }

  /**
   * Closes a socket of which nothing was read to its end. Where the kernel does not keep fds out of
   * it (before Linux 6.16) a client can have put files there that take long to close.
   */
  #closerOf(uid: number): (fd: number) => void {
    const { fdGate, files } = this.#parts;
    return fdGate.isEffective ? closeFd : (fd) => files.closeFd(fd, uid);
  }
}
