/**
 * Where the fds of messages leave for one client: in-band, or on the lane (docs/protocol.md section
 * 7). Keeps the lane's sequence; what may leave, and when, is send-queue.ts's.
 */

import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { FDS_REFUSED, FDS_UNWANTED, PEER_CLOSED } from "../ffi/syscall-result.ts";
import { LANE_RECORD_BYTES } from "../protocol/limits.ts";

/** The two system calls that a send queue makes; src/ffi has them with the same signatures. */
export interface PacketSink {
  sendPacket(fd: number, buffer: PinnedBuffer, offset: number, bytes: number): number;
  sendPacketWithFds(
    fd: number,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    fds: readonly number[],
  ): number;
}

const LANE_RECORD = new PinnedBuffer(LANE_RECORD_BYTES);

/** The way out for fds. */
export class FdOutlet {
  readonly #socket: number;
  readonly #sink: PacketSink;
  #laneFd = -1;
  #laneSequence = 0;

  /**
   * @param socket the connection's, borrowed
   * @param sink the kernel
   */
  constructor(socket: number, sink: PacketSink) {
    this.#socket = socket;
    this.#sink = sink;
  }

  /** Whether fds leave apart from their messages. */
  get isOnLane(): boolean {
    return this.#laneFd >= 0;
  }

  /** What must become writable before more fds leave. */
  get fd(): number {
    return this.isOnLane ? this.#laneFd : this.#socket;
  }

  /** From now on fds go out on this socket, borrowed. */
  useLane(laneFd: number): void {
    this.#laneFd = laneFd;
  }

  /**
   * Sends the fds of one frame: with the frame, or on the lane without it.
   * @param fds borrowed
   * @returns bytes sent, or an outcome of sendPacketWithFds(). A client that closed its lane does
   *   not get fds: FDS_REFUSED
   */
  send(source: PinnedBuffer, offset: number, bytes: number, fds: readonly number[]): number {
    if (!this.isOnLane) {
      return this.#sink.sendPacketWithFds(this.#socket, source, offset, bytes, fds);
    }
    LANE_RECORD.words[0] = this.#laneSequence + 1;
    LANE_RECORD.words[1] = fds.length;
    const sent = this.#sink.sendPacketWithFds(this.#laneFd, LANE_RECORD, 0, LANE_RECORD_BYTES, fds);
    if (sent > 0) this.#laneSequence += 1;
    return sent === PEER_CLOSED ? FDS_REFUSED : sent;
  }
}

/** The kernel does not let these fds pass; the message itself may go out without them. */
export function isRefusal(outcome: number): boolean {
  return outcome === FDS_REFUSED || outcome === FDS_UNWANTED;
}
