/**
 * Looks after fds that are on their way, now and then while there are any: which were taken, and
 * which nobody will take. What waited too long in the broker is withdrawn; a client that left
 * fds in its socket for as long is closed, since nothing can be withdrawn from there.
 */

import type { Connection } from "../connection.ts";
import type { ConnectionTable } from "../connection-table.ts";
import { NEVER } from "../deadlines.ts";
import type { BrokerEventListener } from "../events.ts";
import type { LimitFigures } from "../quotas/excess.ts";
import type { Flusher } from "../sending/flusher.ts";
import type { SocketWatch } from "../socket-watch.ts";
import type { FdsInFlight } from "./fds-in-flight.ts";
import { FD_LOOK_INTERVAL_MS, FD_SWEEP_INTERVAL_MS } from "./limits.ts";
import type { LingeringSockets } from "./lingering-sockets.ts";

/** What a sweep needs of the process around it. */
export interface FdSweepHost {
  /** The client has left so many fds in its socket for too long: for so many milliseconds. */
  evictForFds(connection: Connection, fds: number, waitedMs: LimitFigures): void;
}

/** What a sweep is made from. */
export interface FdSweepParts {
  readonly inFlight: FdsInFlight;
  readonly lingering: LingeringSockets;
  readonly table: ConnectionTable;
  readonly watch: SocketWatch;
  readonly flusher: Flusher;
  readonly host: FdSweepHost;
  readonly onEvent: BrokerEventListener;
}

/** Sweeps one broker. */
export class FdSweep {
  readonly #parts: FdSweepParts;
  /** When to look next; 0 while there is nothing to look at. */
  #nextAt = 0;
  #nextLookAt = 0;

  constructor(parts: FdSweepParts) {
    this.#parts = parts;
  }

  /** When run() has something to do; Infinity while no fd is on its way. */
  deadline(): number {
    const { inFlight, lingering } = this.#parts;
    if (inFlight.isIdle && lingering.size === 0) {
      this.#nextAt = 0;
      return NEVER;
    }
    if (this.#nextAt === 0) this.#nextAt = inFlight.tick() + FD_SWEEP_INTERVAL_MS;
    return this.#nextAt;
  }

  /** Sweeps, if it is time. */
  runIfDue(): void {
    if (this.deadline() === NEVER) return;
    const { inFlight, lingering, table } = this.#parts;
    const now = inFlight.tick();
    if (now < this.#nextAt) return;
    this.#nextAt = now + FD_SWEEP_INTERVAL_MS;
    lingering.sweep();
    for (const connection of table.all()) {
      if (connection.state !== "DOOMED") this.#sweepOne(connection, now);
    }
  }

  /** Somebody asks how many fds were taken: looks, unless that was done a moment ago. */
  lookAll(): void {
    const now = this.#parts.inFlight.tick();
    if (now < this.#nextLookAt) return;
    this.#nextLookAt = now + FD_LOOK_INTERVAL_MS;
    for (const { queue } of this.#parts.table.all()) queue.outlet.look();
  }

  /** Somebody waits for fds to be taken: looks now, and at every sign of it. */
  watchAll(): void {
    for (const connection of this.#parts.table.all()) {
      if (connection.state === "DOOMED" || !isAwaited(connection)) continue;
      connection.queue.outlet.look();
      if (isAwaited(connection)) this.#parts.watch.watchTaking(connection);
    }
  }

  /** Clients that are watched for it have taken fds: queues may go on, and who waits may be told. */
  noteTaking(): void {
    const { inFlight, table, watch, flusher } = this.#parts;
    for (const slot of watch.takingSlots()) {
      const connection = table.at(slot);
      if (connection === undefined || connection.state === "DOOMED") continue;
      const { queue } = connection;
      if (queue.awaitsTaking) flusher.flush(connection);
      queue.outlet.look();
      const isOfUse = inFlight.waiters > 0 && isAwaited(connection);
      if (!isOfUse && !queue.awaitsTaking) watch.unwatchTaking(connection);
    }
  }

  #sweepOne(connection: Connection, now: number): void {
    const { queue, quota } = connection;
    const { outlet } = queue;
    const ttlMs = quota.user.setting("fdTtlMs");
    const before = now - ttlMs;
    outlet.look();
    const { oldestAt } = outlet;
    if (oldestAt <= before) {
      const fds = outlet.untakenFds;
      const waitedMs = { limit: ttlMs, actual: Math.floor(now - oldestAt) };
      outlet.disown(true);
      this.#tell(connection, fds + queue.expireFds(Number.POSITIVE_INFINITY));
      return this.#parts.host.evictForFds(connection, fds, waitedMs);
    }
    if (queue.queuedFds === 0) return;
    const expired = queue.expireFds(before);
    if (expired > 0) this.#tell(connection, expired);
    if (!connection.isUnflushed) this.#parts.flusher.note(connection);
  }

  #tell({ id, identity }: Connection, fds: number): void {
    const reason = "expired";
    this.#parts.onEvent({ type: "fds-undelivered", connection: id, identity, reason, fds });
  }
}

/** Whether the client is to take fds: some that are in its socket, or that will be. */
function isAwaited({ queue }: Connection): boolean {
  return queue.outlet.untakenFds > 0 || queue.queuedFds > 0;
}
