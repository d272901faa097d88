/**
 * Receives the packets of clients, one after the other, into one buffer. Fds that nobody takes out
 * of a packet are closed as their sender's.
 */

import { PacketReceiver } from "../ffi/ancillary.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { RECORD_TRUNCATED } from "../ffi/syscall-result.ts";
import { PACKET_BYTES_MAX } from "../protocol/limits.ts";
import type { FdCloser } from "./fd-closer.ts";
import type { FdHost } from "./fd-intake.ts";
import { DISCARDED_PACKETS_MAX } from "./limits.ts";

/** Where the packets of one broker come from. */
export class PacketSource {
  /** The last packet. */
  readonly packet: PacketReceiver;
  readonly #closer: Pick<FdCloser, "isFull">;
  /** Whose packet it is. */
  #uid = 0;

  constructor(closer: Pick<FdCloser, "isFull">, files: Pick<FdHost, "closeFd">) {
    this.#closer = closer;
    const buffer = new PinnedBuffer(PACKET_BYTES_MAX);
    const close = (fd: number) => files.closeFd(fd, this.#uid);
    this.packet = new PacketReceiver(buffer, PACKET_BYTES_MAX, close);
  }

  /**
   * Receives one packet.
   * @param fd borrowed
   * @param uid whose socket it is
   * @returns outcome of PacketReceiver.receive()
   */
  receive(fd: number, uid: number): number {
    this.#uid = uid;
    return this.packet.receive(fd);
  }

  /**
   * Throws away what a user has sent on a socket, which takes no more.
   * @returns whether nothing is left
   */
  discard(fd: number, uid: number): boolean {
    for (let packets = 0; packets < DISCARDED_PACKETS_MAX; packets += 1) {
      if (this.#closer.isFull(uid)) return false;
      const bytes = this.receive(fd, uid);
      this.packet.closeFds();
      if (bytes < 0 && bytes !== RECORD_TRUNCATED) return true;
    }
    return false;
  }
}
