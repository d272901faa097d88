/**
 * Receives the packets of clients, one after the other; or several ahead, where many small ones come.
 * Fds that nobody takes out of a packet are closed as their sender's. No more of them are let in than
 * the broker has room for: what it needs for itself is left also where many are slow to be closed.
 */

import { PacketReceiver } from "../../ffi/ancillary.ts";
import { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { ReceivedRecords } from "../../ffi/received-records.ts";
import { enablePacketCredentials } from "../../ffi/socket-options.ts";
import { RECORD_TRUNCATED, WOULD_BLOCK } from "../../ffi/syscall-result.ts";
import { MESSAGE_FDS_MAX, PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import type { FdCloser } from "../closing/fd-closer.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdHost } from "../fds/fd-intake.ts";
import { DISCARDED_FDS_PER_STEP, DISCARDED_PACKETS_PER_STEP } from "./limits.ts";

/**
 * What a step of discard() came to. EMPTY: nothing is left. NOT_EMPTY: something may be, for the next
 * step. NOT_TAKEN: something may be, and may not be taken now, since too many of its sender's fds are
 * not closed yet.
 */
export type Discarded = "EMPTY" | "NOT_EMPTY" | "NOT_TAKEN";

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
  packet: PacketReceiver;
  readonly #parts: PacketSourceParts;
  /** Receives packets one by one. */
  readonly #single: PacketReceiver;
  readonly #close: (fd: number) => void;
  /** Undefined until it is needed: it has a megabyte. */
  #several: ReceivedRecords | undefined;
  /** Fds that a packet received alone may bring now. */
  #room = MESSAGE_FDS_MAX;
  /** Whether it brings its sender's credentials, too: there is room for both at first. */
  #hasCredentials = true;
  /** Whose packet it is. */
  #uid = 0;
  #fdsClosed = 0;

  constructor(parts: PacketSourceParts) {
    this.#parts = parts;
    const buffer = new PinnedBuffer(PACKET_BYTES_MAX);
    this.#close = (fd: number) => {
      this.#fdsClosed += 1;
      parts.files.closeFd(fd, this.#uid);
    };
    this.#single = new PacketReceiver(buffer, PACKET_BYTES_MAX, this.#close);
    this.packet = this.#single;
  }

  /** Packets that were received ahead, and not handed out yet. */
  get ahead(): number {
    return this.#several?.ahead ?? 0;
  }

  /** The last receiveAhead() got fewer packets than it asked for, from the client that is read. */
  isDrained = false;

  /**
   * Receives one packet. None may be ahead.
   * @param fd borrowed
   * @param uid whose socket it is
   * @returns outcome of PacketReceiver.receive()
   */
  receive(fd: number, uid: number): number {
    return this.#receive(fd, uid, this.#parts.verifiesPackets);
  }

  #receive(fd: number, uid: number, hasCredentials: boolean): number {
    this.#uid = uid;
    this.isDrained = false;
    this.packet = this.#single;
    const room = Math.min(this.#parts.budget.roomToReserve, MESSAGE_FDS_MAX);
    if (room !== this.#room || hasCredentials !== this.#hasCredentials) {
      this.#room = room;
      this.#hasCredentials = hasCredentials;
      this.#single.limitFds(room, hasCredentials);
    }
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

  /** No more of that client is handled: throws away what is ahead, and closes its fds. */
  dropAhead(): void {
    this.isDrained = false;
    this.#several?.drop();
  }

  /**
   * Throws away some of what a user has sent on a socket, which takes no more: one step of it.
   * @param fd borrowed; shut down
   */
  discard(fd: number, uid: number): Discarded {
    // An empty packet looks like the end, but for the credentials that it brings then.
    enablePacketCredentials(fd);
    const fdsMax = this.#fdsClosed + DISCARDED_FDS_PER_STEP;
    for (let packets = 0; packets < DISCARDED_PACKETS_PER_STEP; packets += 1) {
      if (this.#parts.closer.isFull(uid)) return "NOT_TAKEN";
      const bytes = this.#receive(fd, uid, true);
      this.packet.closeFds();
      const isPacket = bytes > 0 || bytes === RECORD_TRUNCATED || this.packet.hasCredentials;
      if (!isPacket) return "EMPTY";
      if (this.#fdsClosed >= fdsMax) break;
    }
    return "NOT_EMPTY";
  }
}
