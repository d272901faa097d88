/**
 * Sockets of connections that are gone but in which fds still wait, because whoever has the other end
 * neither reads nor closes it. The kernel counts those fds against the broker's user; so they stay
 * charged, now to the uid that keeps them, until it does either. Each socket is shut down: its
 * client reads what is there, and then the end.
 */

import { OwnedFd } from "../../ffi/owned-fd.ts";
import { collectUnixGarbage } from "../../ffi/seqpacket.ts";
import { RESOURCE, type UserQuota } from "../quotas/quota.ts";
import type { FdBudget } from "./fd-budget.ts";
import type { FdOutlet } from "./fd-outlet.ts";
import { LINGERING_SOCKET_COST } from "./limits.ts";

interface LingeringSocket {
  readonly socket: OwnedFd;
  readonly outlet: FdOutlet;
  readonly user: UserQuota;
  readonly charged: number;
  readonly close: (fd: number) => void;
}

/** The sockets of one broker that linger. */
export class LingeringSockets {
  readonly #budget: FdBudget;
  readonly #sockets = new Set<LingeringSocket>();

  constructor(budget: FdBudget) {
    this.#budget = budget;
  }

  get size(): number {
    return this.#sockets.size;
  }

  /**
   * Keeps a socket that fds left on, if some still wait there; who paid for them is released.
   * @param socket taken over where it is kept; shut down already
   * @param user who is charged for it from now on
   * @param close closes it, however long that takes
   */
  keep(socket: OwnedFd, outlet: FdOutlet, user: UserQuota, close: (fd: number) => void): void {
    outlet.look();
    const fds = outlet.untakenFds;
    if (fds === 0) return;
    outlet.disown(false);
    const charged = fds + LINGERING_SOCKET_COST;
    user.impose(RESOURCE.fds, charged);
    this.#budget.addConnection();
    this.#sockets.add({ socket: OwnedFd.adopt(socket.release()), outlet, user, charged, close });
  }

  /**
   * Closes those in which nothing waits any more. One that waits in itself alone, sent by its own
   * client, is found by the kernel's collector, which runs when some AF_UNIX socket is closed: on a
   * bus at rest nobody would close one (af_unix(7) says nothing of it; net/unix/garbage.c).
   */
  sweep(): void {
    if (this.#sockets.size > 0) collectUnixGarbage();
    for (const lingering of this.#sockets) {
      lingering.outlet.look();
      if (lingering.outlet.untakenFds === 0) this.#drop(lingering);
    }
  }

  /** Closes all. */
  closeAll(): void {
    for (const lingering of this.#sockets) this.#drop(lingering);
  }

  #drop(lingering: LingeringSocket): void {
    this.#sockets.delete(lingering);
    lingering.close(lingering.socket.release());
    lingering.user.release(RESOURCE.fds, lingering.charged);
    this.#budget.removeConnection();
  }
}
