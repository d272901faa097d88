/**
 * A SEQPACKET socket and the lane for fds beside it, as buses and private channels have them. Bun's
 * event loop owns the socket and reads it with recv(2), one callback a packet: the quickest wake-up
 * there is in Bun (docs/performance.md has the figures). recv(2) would drop fds, so those come on the
 * lane, which is read only when a packet speaks of them.
 *
 * Writing goes past Bun, through a duplicate of the fd that only this file closes; so a write can
 * never hit a number that somebody else was given meanwhile. What to do where the socket is full is
 * for transport.ts and channel-transport.ts to say.
 */

import { PacketReceiver, sendPacketWithFds } from "../ffi/ancillary.ts";
import { duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { sendPacket, shutdownBoth } from "../ffi/seqpacket.ts";
import { NO_MEMORY, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import { LANE_RECORD_BYTES } from "../protocol/limits.ts";

/** What a socket tells whoever uses it. */
export interface TransportEvents {
  /** One packet; the bytes are the receiver's to keep. */
  onPacket(packet: Uint8Array): void;
  /** A send() that would have blocked may be tried again. */
  onWritable(): void;
  /** The connection is gone. Called once. */
  onClose(error: Error | undefined): void;
}

/** The part of Bun's socket that is used here. */
interface BunSocket {
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
const connectFd: ConnectFd = Bun.connect as unknown as ConnectFd;

const NO_FDS: readonly number[] = [];

/** See the head of this file. */
export class PacketSocket {
  readonly #writing: OwnedFd;
  readonly #lane: OwnedFd;
  readonly #events: TransportEvents;
  #socket: BunSocket | undefined;
  #isClosed = false;

  /** Holds what receiveLaneRecord() has read. */
  readonly laneReceiver = new PacketReceiver(new PinnedBuffer(LANE_RECORD_BYTES * 2));
  /** Records of the lane that were received. */
  laneRecords = 0;
  /** Called at the end, before onClose(). */
  onEnd: () => void = () => {};

  private constructor(writing: OwnedFd, lane: OwnedFd, events: TransportEvents) {
    this.#writing = writing;
    this.#lane = lane;
    this.#events = events;
  }

  /**
   * Hands a connected socket and its lane to the event loop.
   * @param packets handed over
   * @param lane handed over
   * @throws {SyscallError} EMFILE; both are closed then
   */
  static async open(
    packets: OwnedFd,
    lane: OwnedFd,
    events: TransportEvents,
  ): Promise<PacketSocket> {
    using unused = new DisposableStack();
    unused.use(packets);
    unused.use(lane);
    const writing = unused.use(OwnedFd.adopt(duplicateFd(packets.number)));
    const opened = new PacketSocket(writing, lane, events);
    opened.#socket = await connectFd({
      fd: packets.release(),
      socket: {
        data: (_socket, packet) => events.onPacket(packet),
        drain: () => events.onWritable(),
        close: (_socket, error) => opened.#finish(error),
        error: (_socket, error) => opened.#finish(error),
      },
    });
    unused.move();
    return opened;
  }

  /** Nothing is sent or received any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * sendmsg(2): sends one packet, or says that it does not fit now.
   * @param fds borrowed
   * @returns bytes sent; WOULD_BLOCK, also where the kernel has no memory for it; PEER_CLOSED,
   *   FDS_REFUSED or FDS_UNWANTED
   */
  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[] = NO_FDS): number {
    const fd = this.#writing.number;
    const sent =
      fds.length === 0
        ? sendPacket(fd, buffer, 0, bytes)
        : sendPacketWithFds(fd, buffer, 0, bytes, fds);
    return sent === NO_MEMORY ? WOULD_BLOCK : sent;
  }

  /**
   * Sends one packet through Bun. Bun tells of writability only after a write of its own that did not
   * fit, so this is how to ask for onWritable().
   * @returns bytes sent; none or fewer than given where it did not fit
   */
  offer(packet: Uint8Array): number {
    return this.#socket?.write(packet) ?? 0;
  }

  /** Sends one record with fds on the lane. @param fds borrowed @returns as send() */
  sendLaneRecord(record: PinnedBuffer, fds: readonly number[]): number {
    const sent = sendPacketWithFds(this.#lane.number, record, 0, LANE_RECORD_BYTES, fds);
    return sent === NO_MEMORY ? WOULD_BLOCK : sent;
  }

  /**
   * Receives the next record of the lane; its fds are in `laneReceiver`, to be taken or closed.
   * @returns whether it has its turn and announces so many fds
   */
  receiveLaneRecord(count: number): boolean {
    const bytes = this.laneReceiver.receive(this.#lane.number);
    const { words } = this.laneReceiver.buffer;
    this.laneRecords += 1;
    return bytes === LANE_RECORD_BYTES && words[0] === this.laneRecords && words[1] === count;
  }

  /** Reads no more packets until told otherwise; a few that are under way may still come. */
  setPaused(isPaused: boolean): void {
    if (this.#isClosed) return;
    if (isPaused) this.#socket?.pause();
    else this.#socket?.resume();
  }

  /** Closes everything; onClose() follows. */
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
    this.onEnd();
    this.#events.onClose(error);
  }
}
