/**
 * The two sockets of a private channel (docs/protocol.md section 10): packets through Bun's event
 * loop as in transport.ts, fds on the lane, both ways. The other side is nobody's broker, so a
 * record of the lane that is not exactly as announced ends the channel.
 */

import { ProtocolError } from "../errors.ts";
import { PacketReceiver, sendPacketWithFds } from "../ffi/ancillary.ts";
import { duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { sendPacket, shutdownBoth } from "../ffi/seqpacket.ts";
import { NO_MEMORY, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import { LANE_RECORD_BYTES } from "../protocol/limits.ts";
import { fdShortage } from "./fd-shortage.ts";
import { LANE_RETRY_MS_FIRST, LANE_RETRY_MS_MAX } from "./limits.ts";
import { type BunSocket, connectFd, type Transport, type TransportEvents } from "./transport.ts";

/** See the head of this file. */
export class ChannelTransport implements Omit<Transport, "setPaused"> {
  readonly #writing: OwnedFd;
  readonly #lane: OwnedFd;
  readonly #laneReceiver = new PacketReceiver(new PinnedBuffer(LANE_RECORD_BYTES * 2));
  readonly #record = new PinnedBuffer(LANE_RECORD_BYTES);
  readonly #events: TransportEvents;
  #received = 0;
  #sent = 0;
  /** The packet whose fds are on the lane already, while it has to wait itself. */
  #announced: PinnedBuffer | undefined;
  #retryMs = LANE_RETRY_MS_FIRST;
  #retryTimer: Timer | undefined;
  #socket: BunSocket | undefined;
  #isClosed = false;

  private constructor(writing: OwnedFd, lane: OwnedFd, events: TransportEvents) {
    this.#writing = writing;
    this.#lane = lane;
    this.#events = events;
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
    using unused = new DisposableStack();
    unused.use(packets);
    unused.use(lane);
    const writing = unused.use(OwnedFd.adopt(duplicateFd(packets.number)));
    const transport = new ChannelTransport(writing, lane, events);
    transport.#socket = await connectFd({
      fd: packets.release(),
      socket: {
        data: (_socket, packet) => events.onPacket(packet),
        drain: () => events.onWritable(),
        close: (_socket, error) => transport.#finish(error),
        error: (_socket, error) => transport.#finish(error),
      },
    });
    unused.move();
    return transport;
  }

  /** Transport. The record is sent once, however often the packet behind it has to be tried. */
  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    if (this.#isClosed) return bytes;
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
    const receiver = this.#laneReceiver;
    const bytes = receiver.receive(this.#lane.number);
    const { words } = receiver.buffer;
    this.#received += 1;
    const belongs = bytes === LANE_RECORD_BYTES && words[0] === this.#received;
    if (belongs && words[1] === count && receiver.receivedFdCount === count) {
      return receiver.takeFds();
    }
    const isCutShort = receiver.controlTruncated;
    receiver.closeFds();
    if (isCutShort) {
      const message = "Cannot take files of a channel: this process may hold no more fds";
      throw fdShortage(message, count);
    }
    throw new ProtocolError(
      "PROTOCOL_LANE",
      `Cannot take fds: record ${this.#received} of the channel's lane is not that of the message`,
    );
  }

  /** No packet is read any more until resume(); the kernel holds them, and then the other side waits. */
  pause(): void {
    this.#socket?.pause();
  }

  /** Packets are read again. */
  resume(): void {
    this.#socket?.resume();
  }

  close(): void {
    if (this.#isClosed) return;
    shutdownBoth(this.#writing.number);
    this.#socket?.terminate();
    this.#finish(undefined);
  }

  #sendRecord(fds: readonly number[]): number {
    const { words } = this.#record;
    words[0] = this.#sent + 1;
    words[1] = fds.length;
    const sent = sendPacketWithFds(this.#lane.number, this.#record, 0, LANE_RECORD_BYTES, fds);
    if (sent === LANE_RECORD_BYTES) {
      this.#sent += 1;
      this.#retryMs = LANE_RETRY_MS_FIRST;
      return sent;
    }
    if (sent !== WOULD_BLOCK && sent !== NO_MEMORY) return sent;
    this.#retryLater();
    return WOULD_BLOCK;
  }

  /** Bun watches the packets' socket alone. The lane is full only where the other side reads nothing. */
  #retryLater(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#events.onWritable(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LANE_RETRY_MS_MAX);
  }

  #sendPacket(buffer: PinnedBuffer, bytes: number): number {
    const sent = sendPacket(this.#writing.number, buffer, 0, bytes);
    if (sent !== WOULD_BLOCK && sent !== NO_MEMORY) return sent;
    // Bun reports writability only after a write of its own that did not fit. There is nothing that
    // could be offered in its place, as on a bus; so if it does fit now, it is sent.
    const offered = this.#socket?.write(buffer.bytes.subarray(0, bytes)) ?? 0;
    return offered === bytes ? bytes : WOULD_BLOCK;
  }

  #finish(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    this.#writing.close();
    this.#lane.close();
    this.#events.onClose(error);
  }
}
