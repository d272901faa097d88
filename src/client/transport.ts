/**
 * The socket under a bus. When it is full, a NOOP frame is offered to Bun: if that does not fit either,
 * Bun tells us when the socket is writable.
 */

import { ProtocolError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import type { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { WOULD_BLOCK } from "../ffi/syscall-result.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { PacketWriter } from "../protocol/packet.ts";
import { PacketSocket, type TransportEvents } from "./packet-socket.ts";

/** A packet connection to a broker; a simulated one fits too. */
export interface Transport {
  /**
   * Sends one packet.
   * @param fds borrowed; empty for none
   * @returns bytes sent; WOULD_BLOCK (onWritable() follows), PEER_CLOSED, FDS_REFUSED, or FDS_UNWANTED
   */
  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[]): number;
  /**
   * Fetches the fds of the next record on the lane.
   * @returns owned by the caller; fewer than `count` where this process may hold no more
   * @throws {ProtocolError} PROTOCOL_LANE where record and frame do not belong together
   */
  takeLaneFds(count: number): number[];
  /** Reads no more packets until told otherwise; a few that are under way may still come. */
  setPaused(isPaused: boolean): void;
  /** Closes everything; onClose() follows. */
  close(): void;
}

const NOOP_PACKET = noopPacket();

/** A SEQPACKET socket in Bun's event loop. */
export class SeqpacketTransport implements Transport {
  readonly #socket: PacketSocket;

  private constructor(socket: PacketSocket) {
    this.#socket = socket;
  }

  /**
   * Hands a connected, welcomed socket to the event loop.
   * @param socket handed over
   * @param lane handed over
   * @throws {SyscallError} EMFILE; both are closed then
   */
  static async open(
    socket: OwnedFd,
    lane: OwnedFd,
    events: TransportEvents,
  ): Promise<SeqpacketTransport> {
    return new SeqpacketTransport(await PacketSocket.open(socket, lane, events));
  }

  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    for (;;) {
      const sent = this.#socket.send(buffer, bytes, fds);
      if (sent !== WOULD_BLOCK) return sent;
      if (this.#socket.offer(NOOP_PACKET) <= 0) return WOULD_BLOCK;
    }
  }

  takeLaneFds(count: number): number[] {
    const { laneReceiver } = this.#socket;
    if (this.#socket.receiveLaneRecord(count)) return laneReceiver.takeFds();
    laneReceiver.closeFds();
    throw new ProtocolError(
      "PROTOCOL_LANE",
      `Cannot take fds: record ${this.#socket.laneRecords} of the lane is not that of the message`,
    );
  }

  setPaused(isPaused: boolean): void {
    this.#socket.setPaused(isPaused);
  }

  close(): void {
    this.#socket.close();
  }
}

function noopPacket(): Uint8Array {
  const writer = new PacketWriter();
  writer.appendControl(OPCODE.NOOP, 0, 0, undefined);
  return writer.bytes.subarray(0, writer.packetBytes);
}
