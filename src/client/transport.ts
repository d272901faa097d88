/**
 * The socket under a bus. Bun's event loop owns it and reads it with recv(2), one callback a
 * packet: the quickest wake-up there is in Bun (docs/performance.md has the figures). recv(2)
 * would drop fds, so those come on the fd lane, which takeLaneFds() reads.
 *
 * Writing goes past Bun, through a duplicate of the fd that only this file closes; so a write can
 * never hit a number that somebody else was given meanwhile. When the socket is full, a NOOP frame
 * is offered to Bun: if that does not fit either, Bun tells us when the socket is writable.
 */

import { ProtocolError } from "../errors.ts";
import { PacketReceiver, sendPacketWithFds } from "../ffi/ancillary.ts";
import { duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { sendPacket, shutdownBoth } from "../ffi/seqpacket.ts";
import { NO_MEMORY, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import { LANE_RECORD_BYTES } from "../protocol/limits.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { PacketWriter } from "../protocol/packet.ts";

/** What a transport tells its bus. */
export interface TransportEvents {
  /** One packet; the bytes are the bus's to keep. */
  onPacket(packet: Uint8Array): void;
  /** A send() that would have blocked may be tried again. */
  onWritable(): void;
  /** The connection is gone. Called once. */
  onClose(error: Error | undefined): void;
}

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

/** The part of Bun's socket that is used here. */
export interface BunSocket {
  write(data: Uint8Array): number;
  pause(): void;
  resume(): void;
  terminate(): void;
}

type ConnectFd = (options: {
  fd: number;
  socket: {
    data(socket: BunSocket, packet: Uint8Array): void;
    drain(socket: BunSocket): void;
    close(socket: BunSocket, error?: Error): void;
    error(socket: BunSocket, error: Error): void;
  };
}) => Promise<BunSocket>;

/** Bun.connect() on a connected fd, which it takes over. Bun's types lack that. */
export const connectFd: ConnectFd = Bun.connect as unknown as ConnectFd;

/** A SEQPACKET socket in Bun's event loop. */
export class SeqpacketTransport implements Transport {
  readonly #writing: OwnedFd;
  readonly #lane: OwnedFd;
  readonly #laneReceiver = new PacketReceiver(new PinnedBuffer(LANE_RECORD_BYTES * 2));
  readonly #events: TransportEvents;
  #laneSequence = 0;
  #socket: BunSocket | undefined;
  #isClosed = false;

  private constructor(writing: OwnedFd, lane: OwnedFd, events: TransportEvents) {
    this.#writing = writing;
    this.#lane = lane;
    this.#events = events;
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
    using unused = new DisposableStack();
    unused.use(socket);
    unused.use(lane);
    const writing = unused.use(OwnedFd.adopt(duplicateFd(socket.number)));
    const transport = new SeqpacketTransport(writing, lane, events);
    transport.#socket = await connectFd({
      fd: socket.release(),
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

  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    for (;;) {
      const fd = this.#writing.number;
      const sent =
        fds.length === 0
          ? sendPacket(fd, buffer, 0, bytes)
          : sendPacketWithFds(fd, buffer, 0, bytes, fds);
      if (sent !== WOULD_BLOCK && sent !== NO_MEMORY) return sent;
      // Bun reports writability only after a write of its own that did not fit.
      const offered = this.#socket?.write(NOOP_PACKET) ?? 0;
      if (offered <= 0) return WOULD_BLOCK;
    }
  }

  takeLaneFds(count: number): number[] {
    const bytes = this.#laneReceiver.receive(this.#lane.number);
    const words = this.#laneReceiver.buffer.words;
    this.#laneSequence += 1;
    const belongs =
      bytes === LANE_RECORD_BYTES && words[0] === this.#laneSequence && words[1] === count;
    if (belongs) return this.#laneReceiver.takeFds();
    this.#laneReceiver.closeFds();
    throw new ProtocolError(
      "PROTOCOL_LANE",
      `Cannot take fds: record ${this.#laneSequence} of the lane is not that of the message`,
    );
  }

  setPaused(isPaused: boolean): void {
    if (this.#isClosed) return;
    if (isPaused) this.#socket?.pause();
    else this.#socket?.resume();
  }

  close(): void {
    if (this.#isClosed) return;
    shutdownBoth(this.#writing.number);
    this.#socket?.terminate();
    this.#finish(undefined);
  }

  #finish(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#writing.close();
    this.#lane.close();
    this.#events.onClose(error);
  }
}

function noopPacket(): Uint8Array {
  const writer = new PacketWriter();
  writer.appendControl(OPCODE.NOOP, 0, 0, undefined);
  return writer.bytes.subarray(0, writer.packetBytes);
}
