/**
 * How what waits for one client leaves: packet by packet, or several with fds by one system call, until
 * the socket or the lane takes no more. What comes to wait, and what is lost, is queue-arrival.ts's.
 */

import type { FdBundle } from "../fds/fd-bundle.ts";
import {
  type FdOutlet,
  isGone,
  isRefusal,
  lossOf,
  type PacketSink,
  TAKING_AWAITED,
} from "../fds/fd-outlet.ts";
import { laneKind } from "./frame-marks.ts";
import type { QueuedPacket } from "./packet-pool.ts";
import { ACCEPTED, BLOCKED, PEER_GONE } from "./queue-outcomes.ts";
import type { WaitingPackets } from "./waiting-packets.ts";

/** The way out of one queue. */
export class QueueDeparture {
  readonly #fd: number;
  readonly #sink: PacketSink;
  readonly #waiting: WaitingPackets;
  readonly #outlet: FdOutlet;

  /** The fd that must become writable before more can leave; -1 where nothing is blocked. */
  blockedFd = -1;
  /** `blockedFd` may be writable, but more can leave only when the client takes fds from it. */
  awaitsTaking = false;

  /**
   * @param fd the connection's socket, borrowed
   * @param sink the kernel
   * @param waiting what is to leave; shortened by what has left
   * @param outlet where fds leave
   */
  constructor(fd: number, sink: PacketSink, waiting: WaitingPackets, outlet: FdOutlet) {
    this.#fd = fd;
    this.#sink = sink;
    this.#waiting = waiting;
    this.#outlet = outlet;
  }

  /** The socket takes no more. */
  noteBlocked(): void {
    this.blockedFd = this.#fd;
  }

  /** Where fds leave takes no more. @param outcome of FdOutlet.send() */
  noteFdsBlocked(outcome: number): void {
    this.blockedFd = this.#outlet.fd;
    this.awaitsTaking = outcome === TAKING_AWAITED;
  }

  /** Nothing is blocked, as far as is known. */
  noteUnblocked(): void {
    this.blockedFd = -1;
    this.awaitsTaking = false;
  }

  /** Sends what waits, in order. @returns ACCEPTED where nothing is left, BLOCKED or PEER_GONE */
  sendWaiting(): number {
    this.noteUnblocked();
    for (let packet = this.#waiting.first; packet !== undefined; packet = this.#waiting.first) {
      const together = packet.bundle === undefined ? 0 : this.#outlet.sendTogether(this.#waiting);
      if (together > 0) {
        this.#waiting.shift(together);
        continue;
      }
      const outcome =
        packet.bundle === undefined
          ? this.#sendPlain(packet)
          : this.#sendWithFds(packet, packet.bundle);
      if (isGone(outcome)) return PEER_GONE;
      if (outcome < 0) {
        if (this.blockedFd < 0) this.noteBlocked();
        return BLOCKED;
      }
      this.#waiting.shift();
    }
    return ACCEPTED;
  }

  /**
   * The head of the queue carries fds. Once they are on the lane, or refused, the rest of it is a
   * packet like any other.
   * @returns bytes sent, or an outcome of sendPacket with the frame still queued
   */
  #sendWithFds(packet: QueuedPacket, bundle: FdBundle): number {
    const sent = this.#outlet.send(packet.buffer, 0, packet.bytes, bundle, packet.fds);
    if (sent < 0 && !isRefusal(sent)) {
      if (!isGone(sent)) this.noteFdsBlocked(sent);
      return sent;
    }
    if (sent < 0) {
      bundle.payer.release(packet.fds.length);
      this.#waiting.loseFds(packet, lossOf(sent));
    } else this.#waiting.letGoOfFds(packet);
    if (sent > 0 && !this.#outlet.isOnLane) return sent;
    if (sent > 0) packet.buffer.words[1] = laneKind(packet.buffer.words[1] ?? 0);
    return this.#sendPlain(packet);
  }

  #sendPlain(packet: QueuedPacket): number {
    if (packet.bytes === 0) return 0; // Its frame was lost with its fds.
    const outcome = this.#sink.sendPacket(this.#fd, packet.buffer, 0, packet.bytes);
    if (outcome > 0) this.#outlet.noteRecord();
    return outcome;
  }
}
