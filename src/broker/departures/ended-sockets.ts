/**
 * The last of a connection: its socket and its lane, with what was not read from them. Closing a
 * socket closes the fds in it, which may hang; who does that, and on whose account, stands here.
 */

import { closeFd } from "../../ffi/owned-fd.ts";
import { shutdownBoth } from "../../ffi/seqpacket.ts";
import type { Connection } from "../connection.ts";
import type { FdGate } from "../fds/fd-gate.ts";
import type { FdHost } from "../fds/fd-intake.ts";
import type { LingeringSockets } from "../fds/lingering-sockets.ts";
import type { PacketSource } from "../reading/packet-source.ts";

/** What they are closed with. */
export interface EndedSocketsParts {
  readonly lingering: LingeringSockets;
  readonly fdGate: FdGate;
  readonly files: Pick<FdHost, "closeFd">;
  readonly source: Pick<PacketSource, "discard">;
}

/** Closes sockets of connections that have ended. */
export class EndedSockets {
  readonly #parts: EndedSocketsParts;

  constructor(parts: EndedSocketsParts) {
    this.#parts = parts;
  }

  /**
   * Ends the streams so that the client can still read what it was sent: closing a socket with
   * unread packets would turn into ECONNRESET at the other end. In steps.
   * @returns whether nothing is left in the socket, for close()
   */
  *drain({ socket, lane, identity }: Connection): Generator<void, boolean> {
    const { source } = this.#parts;
    shutdownBoth(socket.number);
    if (lane !== undefined) shutdownBoth(lane.number);
    for (;;) {
      const discarded = source.discard(socket.number, identity.uid);
      if (discarded !== "NOT_EMPTY") return discarded === "EMPTY";
      yield;
    }
  }

  /**
   * Closes the sockets. That closes the fds in them right here, which may hang: so a socket with
   * packets left is itself one that may.
   * @param isDrained as drain() said
   */
  close({ socket, lane, identity, queue, quota }: Connection, isDrained: boolean): void {
    const { lingering, files } = this.#parts;
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
