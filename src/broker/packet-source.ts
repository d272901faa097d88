/**
 * Receives the packets of clients, one after the other, into one buffer. Fds that nobody takes out
 * of a packet are closed as their sender's. No more of them are let in than the broker has room for:
 * what it needs for itself is left also where many are slow to be closed.
 */

import { PacketReceiver } from "../ffi/ancillary.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { RECORD_TRUNCATED } from "../ffi/syscall-result.ts";
import { MESSAGE_FDS_MAX, PACKET_BYTES_MAX } from "../protocol/limits.ts";
import type { FdBudget } from "./fd-budget.ts";
import type { FdCloser } from "./fd-closer.ts";
import type { FdHost } from "./fd-intake.ts";
import { DISCARDED_PACKETS_MAX } from "./limits.ts";

/** What packets are received with. */
export interface PacketSourceParts {
  readonly closer: Pick<FdCloser, "isFull">;
  readonly files: Pick<FdHost, "closeFd">;
  readonly budget: Pick<FdBudget, "roomToReserve">;
  /** Whether packets bring their sender's credentials. */
  readonly verifiesPackets: boolean;
}

/** Where the packets of one broker come from. */
export class PacketSource {
  /** The last packet. */
  readonly packet: PacketReceiver;
  readonly #parts: PacketSourceParts;
  /** Fds that a packet may bring now. */
  #room = MESSAGE_FDS_MAX;
  /** Whose packet it is. */
  #uid = 0;

  constructor(parts: PacketSourceParts) {
    this.#parts = parts;
    const buffer = new PinnedBuffer(PACKET_BYTES_MAX);
    const close = (fd: number) => parts.files.closeFd(fd, this.#uid);
    this.packet = new PacketReceiver(buffer, PACKET_BYTES_MAX, close);
  }

  /**
   * Receives one packet.
   * @param fd borrowed
   * @param uid whose socket it is
   * @returns outcome of PacketReceiver.receive()
   */
  receive(fd: number, uid: number): number {
    const { budget, verifiesPackets } = this.#parts;
    this.#uid = uid;
    const room = Math.min(budget.roomToReserve, MESSAGE_FDS_MAX);
    if (room !== this.#room) {
      this.#room = room;
      this.packet.limitFds(room, verifiesPackets);
    }
    return this.packet.receive(fd);
  }

  /**
   * Throws away what a user has sent on a socket, which takes no more.
   * @returns whether nothing is left
   */
  discard(fd: number, uid: number): boolean {
    for (let packets = 0; packets < DISCARDED_PACKETS_MAX; packets += 1) {
      if (this.#parts.closer.isFull(uid)) return false;
      const bytes = this.receive(fd, uid);
      this.packet.closeFds();
      if (bytes < 0 && bytes !== RECORD_TRUNCATED) return true;
    }
    return false;
  }
}
