/** Connections for tests of the broker's tables: on a simulated kernel, with no socket behind them. */

import { Connection } from "../../../src/broker/connection.ts";
import { FdsInFlight } from "../../../src/broker/fds/fds-in-flight.ts";
import type { PeerIdentity } from "../../../src/broker/identity/identity.ts";
import { Deferred } from "../../../src/broker/long-work/deferred.ts";
import type { Steps } from "../../../src/broker/long-work/fair-steps.ts";
import { Quotas } from "../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../src/broker/quotas/quota-limits.ts";
import type { RouterHost } from "../../../src/broker/routing/router.ts";
import { PacketPool } from "../../../src/broker/sending/packet-pool.ts";
import { SendQueue } from "../../../src/broker/sending/send-queue.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { framesOf, type SentFrame } from "./frame-fixture.ts";
import { SimulatedKernel, type SimulatedSocket } from "./simulated-kernel.ts";

/** No process has fds so high: nothing real can be closed by mistake. */
const FD_BASE = 500_000_000;

/** Does work to its end. @returns how many steps it took */
export function finish(steps: Steps): number {
  let count = 1;
  while (steps.next().done !== true) count += 1;
  return count;
}

/** A kernel with connections on it. */
export class ConnectionBench {
  readonly kernel = new SimulatedKernel();
  readonly quotas = new Quotas(() => QUOTA_DEFAULTS);
  readonly fdsInFlight = new FdsInFlight(() => this.kernel.fdClock, new Deferred());
  readonly #pool = new PacketPool();
  readonly #sockets = new Map<Connection, SimulatedSocket>();

  /** An open connection. @param place where it stands in a table; by default as the id says */
  connect(id: number, uid = 0, place: { slot?: number; acceptedAt?: number } = {}): Connection {
    const fd = FD_BASE + id;
    const socket = this.kernel.socket(fd);
    const identity: PeerIdentity = { uid, gid: uid, pid: id, groups: [] };
    const quota = this.quotas.open(uid);
    const connection = new Connection({
      id,
      slot: place.slot ?? id,
      socket: OwnedFd.adopt(fd),
      identity,
      queue: new SendQueue(fd, this.kernel, this.#pool.open(quota), this.kernel),
      quota,
      fdAccount: this.fdsInFlight.account(quota),
      acceptedAt: place.acceptedAt ?? 0,
      policyGeneration: 0,
    });
    connection.state = "OPEN";
    this.#sockets.set(connection, socket);
    return connection;
  }

  /** All that were made. */
  get connections(): Iterable<Connection> {
    return this.#sockets.keys();
  }

  /** The socket under a connection. */
  socketOf(connection: Connection): SimulatedSocket {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) throw new Error("The connection is of another bench");
    return socket;
  }

  /** Flushes a connection's queue and takes all frames that it was sent. */
  framesTo(connection: Connection): SentFrame[] {
    connection.queue.flush();
    return this.socketOf(connection).take().flatMap(framesOf);
  }
}

/** A host that has time and takes no notice. */
export function quietRouterHost(): RouterHost {
  return {
    hasTime: () => true,
    noteUnflushed: () => {},
    notePeerGone: () => {},
    noteSlowReader: () => {},
    noteHeld: () => {},
    unreadBytes: () => 0,
    noteTooLarge: () => {},
  };
}
