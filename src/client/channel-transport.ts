/**
 * The two sockets of a private channel (docs/protocol.md section 10): packets through Bun's event
 * loop, fds on the lane, both ways. The other side is nobody's broker, so a record of the lane that is
 * not exactly as announced ends the channel.
 */

import { ProtocolError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { WOULD_BLOCK } from "../ffi/syscall-result.ts";
import { LANE_RECORD_BYTES } from "../protocol/limits.ts";
import { fdShortage } from "./fd-shortage.ts";
import { LANE_RETRY_MS_FIRST, LANE_RETRY_MS_MAX } from "./limits.ts";
import { PacketSocket, type TransportEvents } from "./packet-socket.ts";
import type { Transport } from "./transport.ts";

/** See the head of this file. */
export class ChannelTransport implements Omit<Transport, "setPaused"> {
  readonly #socket: PacketSocket;
  readonly #events: TransportEvents;
  readonly #record = new PinnedBuffer(LANE_RECORD_BYTES);
  #sentRecords = 0;
  /** The packet whose fds are on the lane already, while it has to wait itself. */
  #announced: PinnedBuffer | undefined;
  #retryMs = LANE_RETRY_MS_FIRST;
  #retryTimer: Timer | undefined;

  private constructor(socket: PacketSocket, events: TransportEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.onEnd = () => clearTimeout(this.#retryTimer);
  }

  /**
   * Hands the ends of a channel to the event loop.
   * @param packets handed over
   * @param lane handed over
   * @throws {SyscallError} EMFILE; both are closed then
   */
  static async open(
    packets: OwnedFd,
    lane: OwnedFd,
    events: TransportEvents,
  ): Promise<ChannelTransport> {
    return new ChannelTransport(await PacketSocket.open(packets, lane, events), events);
  }

  /** Transport. The record is sent once, however often the packet behind it has to be tried. */
  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    if (this.#socket.isClosed) return bytes;
    if (fds.length > 0 && this.#announced !== buffer) {
      const sent = this.#sendRecord(fds);
      if (sent !== LANE_RECORD_BYTES) return sent;
      this.#announced = buffer;
    }
    const sent = this.#sendPacket(buffer, bytes);
    if (sent !== WOULD_BLOCK) this.#announced = undefined;
    return sent;
  }

  /**
   * Transport
   * @throws {ProtocolError} PROTOCOL_LANE
   * @throws {LimitError} LIMIT_QUEUED_FDS where this process may hold no more
   */
  takeLaneFds(count: number): number[] {
    const { laneReceiver } = this.#socket;
    const belongs = this.#socket.receiveLaneRecord(count);
    if (belongs && laneReceiver.receivedFdCount === count) return laneReceiver.takeFds();
    const isCutShort = laneReceiver.controlTruncated;
    laneReceiver.closeFds();
    if (isCutShort) {
      const message = "Cannot take files of a channel: this process may hold no more fds";
      throw fdShortage(message, count);
    }
    const record = this.#socket.laneRecords;
    throw new ProtocolError(
      "PROTOCOL_LANE",
      `Cannot take fds: record ${record} of the channel's lane is not that of the message`,
    );
  }

  /** No packet is read any more until resume(); the kernel holds them, and then the other side waits. */
  pause(): void {
    this.#socket.setPaused(true);
  }

  /** Packets are read again. */
  resume(): void {
    this.#socket.setPaused(false);
  }

  close(): void {
    this.#socket.close();
  }

  #sendRecord(fds: readonly number[]): number {
    const { words } = this.#record;
    words[0] = this.#sentRecords + 1;
    words[1] = fds.length;
    const sent = this.#socket.sendLaneRecord(this.#record, fds);
    if (sent === LANE_RECORD_BYTES) {
      this.#sentRecords += 1;
      this.#retryMs = LANE_RETRY_MS_FIRST;
    } else if (sent === WOULD_BLOCK) this.#retryLater();
    return sent;
  }

  /** Bun watches the packets' socket alone. The lane is full only where the other side reads nothing. */
  #retryLater(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#events.onWritable(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LANE_RETRY_MS_MAX);
  }

  #sendPacket(buffer: PinnedBuffer, bytes: number): number {
    const sent = this.#socket.send(buffer, bytes);
    if (sent !== WOULD_BLOCK) return sent;
    // There is nothing that could be offered in its place, as on a bus; so if it does fit now, it is
    // sent.
    const offered = this.#socket.offer(buffer.bytes.subarray(0, bytes));
    return offered === bytes ? bytes : WOULD_BLOCK;
  }
}
