/**
 * A kernel made of arrays, for the send queue: sockets that take so many packets and then block,
 * refuse fds, or lose their peer, and fds that are counted. Deterministic.
 */

import { FdBundle, type FdPayer, NOBODY_PAYS } from "../../../src/broker/fds/fd-bundle.ts";
import type { FdOutletHost, PacketSink } from "../../../src/broker/fds/fd-outlet.ts";
import type { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import {
  FDS_REFUSED,
  NO_MEMORY,
  PEER_CLOSED,
  WOULD_BLOCK,
} from "../../../src/ffi/syscall-result.ts";

/** One record as it went out. */
export interface SentRecord {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

/** One socket. */
export class SimulatedSocket {
  /** Records that were sent and not taken yet. */
  readonly records: SentRecord[] = [];
  /** Records that may wait in `records` at a time. */
  capacity = Number.POSITIVE_INFINITY;
  refusesFds = false;
  /** What a send with fds comes to while refusesFds is set. */
  refusal = FDS_REFUSED;
  isPeerGone = false;
  /** So many next sends fail with ENOBUFS. */
  failuresAhead = 0;
  /** Calls of send(2) and sendmsg(2). */
  sends = 0;

  /** Takes all records out, as a reader would. */
  take(): SentRecord[] {
    return this.records.splice(0);
  }

  send(buffer: PinnedBuffer, offset: number, bytes: number, fds: readonly number[]): number {
    this.sends += 1;
    if (this.isPeerGone) return PEER_CLOSED;
    if (this.failuresAhead > 0) {
      this.failuresAhead -= 1;
      return NO_MEMORY;
    }
    if (this.records.length >= this.capacity) return WOULD_BLOCK;
    if (fds.length > 0 && this.refusesFds) return this.refusal;
    this.records.push({ bytes: buffer.bytes.slice(offset, offset + bytes), fds: [...fds] });
    return bytes;
  }
}

/** Sockets by fd, and the count of fds that messages brought; and what outlets tell. */
export class SimulatedKernel implements PacketSink, FdOutletHost {
  readonly sockets = new Map<number, SimulatedSocket>();
  /** Fds that are open now. */
  readonly openFds = new Set<number>();
  /** Fds that were not passed on. */
  refusedFds = 0;
  /** FdOutletHost */
  fdClock = 0;
  #fdsMade = 1_000;

  /** FdOutletHost */
  noteRefused(_outcome: number, fds: number): void {
    this.refusedFds += fds;
  }

  /** Exact, as the real one is for small records. */
  countUnreadRecords(fd: number): number {
    return this.#at(fd).records.length;
  }

  /** Makes a socket. */
  socket(fd: number): SimulatedSocket {
    const socket = new SimulatedSocket();
    this.sockets.set(fd, socket);
    return socket;
  }

  /** A bundle of fresh fds; closing one twice throws. */
  bundle(count: number, bodyFdCount: 0 | 1 = 0, payer: FdPayer = NOBODY_PAYS): FdBundle {
    const fds = Array.from({ length: count }, () => {
      this.#fdsMade += 1;
      this.openFds.add(this.#fdsMade);
      return this.#fdsMade;
    });
    const close = (fd: number) => {
      if (!this.openFds.delete(fd)) throw new Error(`fd ${fd} is closed twice`);
    };
    return new FdBundle(fds, close, bodyFdCount, payer);
  }

  sendPacket(fd: number, buffer: PinnedBuffer, offset: number, bytes: number): number {
    return this.#at(fd).send(buffer, offset, bytes, []);
  }

  sendPacketWithFds(
    fd: number,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    fds: readonly number[],
  ): number {
    for (const passed of fds)
      if (!this.openFds.has(passed)) throw new Error(`fd ${passed} is closed`);
    return this.#at(fd).send(buffer, offset, bytes, fds);
  }

  #at(fd: number): SimulatedSocket {
    const socket = this.sockets.get(fd);
    if (socket === undefined) throw new Error(`fd ${fd} is no socket`);
    return socket;
  }
}
