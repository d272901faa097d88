/**
 * Receives the packets of clients, one after the other; or several ahead, where many small ones come.
 * Fds that nobody takes out of a packet are closed as their sender's.
 */

import { PacketReceiver } from "../ffi/ancillary.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { ReceivedRecords } from "../ffi/received-records.ts";
import { RECORD_TRUNCATED, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import { PACKET_BYTES_MAX } from "../protocol/limits.ts";
import type { FdCloser } from "./fd-closer.ts";
import type { FdHost } from "./fd-intake.ts";
import { DISCARDED_PACKETS_MAX } from "./limits.ts";

/** Where the packets of one broker come from. */
export class PacketSource {
  /** The last packet. */
  packet: PacketReceiver;
  /** Receives packets one by one. */
  readonly #single: PacketReceiver;
  readonly #closer: Pick<FdCloser, "isFull">;
  readonly #close: (fd: number) => void;
  /** Undefined until it is needed: it has a megabyte. */
  #several: ReceivedRecords | undefined;
  /** Whose packet it is. */
  #uid = 0;

  constructor(closer: Pick<FdCloser, "isFull">, files: Pick<FdHost, "closeFd">) {
    this.#closer = closer;
    const buffer = new PinnedBuffer(PACKET_BYTES_MAX);
    this.#close = (fd: number) => files.closeFd(fd, this.#uid);
    this.#single = new PacketReceiver(buffer, PACKET_BYTES_MAX, this.#close);
    this.packet = this.#single;
  }

  /** Packets that were received ahead, and not handed out yet. */
  get ahead(): number {
    return this.#several?.ahead ?? 0;
  }

  /** The last receiveAhead() got fewer packets than it asked for. */
  isDrained = false;

  /**
   * Receives one packet. None may be ahead.
   * @param fd borrowed
   * @param uid whose socket it is
   * @returns outcome of PacketReceiver.receive()
   */
  receive(fd: number, uid: number): number {
    this.#uid = uid;
    this.isDrained = false;
    this.packet = this.#single;
    return this.packet.receive(fd);
  }

  /**
   * Receives packets ahead by one call, and hands out the first of them. None may be ahead before.
   * @param count how many at most, 1..RECORDS_RECEIVED_TOGETHER_MAX
   * @returns as next(); WOULD_BLOCK also where the socket has failed, which receive() then tells
   */
  receiveAhead(fd: number, uid: number, count: number): number {
    this.#uid = uid;
    this.#several ??= new ReceivedRecords(PACKET_BYTES_MAX, this.#close);
    this.isDrained = this.#several.receive(fd, count) < count;
    return this.next();
  }

  /**
   * Hands out the next packet that is ahead; of the same socket as the last one.
   * @returns bytes, RECORD_TRUNCATED or PEER_CLOSED, as PacketReceiver.receive(); WOULD_BLOCK where
   *   none is ahead
   */
  next(): number {
    if (this.#several === undefined || this.#several.ahead === 0) return WOULD_BLOCK;
    const outcome = this.#several.next();
    this.packet = this.#several.current;
    return outcome;
  }

  /** Throws away what is ahead, and closes its fds: no more of that client is handled. */
  dropAhead(): void {
    this.#several?.drop();
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
