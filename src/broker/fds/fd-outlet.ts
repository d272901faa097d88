/**
 * The way of fds into one client's socket: in-band or on its lane, and not more at a time than the
 * kernel should hold for one reader. Remembers what was sent until the client has taken it, since
 * until then the publisher pays. Order and waiting are the send queue's.
 */

import { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import {
  RECORD_FDS_TOGETHER_MAX,
  RECORDS_TOGETHER_MAX,
  type RecordLine,
} from "../../ffi/several-records.ts";
import {
  FDS_REFUSED,
  FDS_UNWANTED,
  PEER_CLOSED,
  RECORD_TOO_LARGE,
} from "../../ffi/syscall-result.ts";
import { LANE_RECORD_BYTES } from "../../protocol/limits.ts";
import { NEVER } from "../deadlines.ts";
import { type FdLoss, KERNEL_REFUSED, LANE_GONE } from "../sending/frame-marks.ts";
import type { QueuedPacket } from "../sending/packet-pool.ts";
import type { WaitingPackets } from "../sending/waiting-packets.ts";
import type { FdBundle, FdPayer } from "./fd-bundle.ts";
import { FDS_UNTAKEN_BEFORE_LOOK, FDS_UNTAKEN_MAX } from "./limits.ts";
import { UntakenFds } from "./untaken-fds.ts";

/** The system calls that a send queue makes; src/ffi has them with the same signatures. */
export interface PacketSink {
  sendPacket(fd: number, buffer: PinnedBuffer, offset: number, bytes: number): number;
  sendPacketWithFds(
    fd: number,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    fds: readonly number[],
  ): number;
  /** Left out: records with fds are sent one by one. */
  sendPacketsWithFds?(fd: number, records: RecordLine, count: number): number;
  /** At most the last so many records that were sent on the socket are not received yet. */
  countUnreadRecords(fd: number): number;
}

/** What an outlet needs of the process around it. */
export interface FdOutletHost {
  /** Milliseconds on the broker's clock, as of the message that is being handled. */
  readonly fdClock: number;
  /**
   * More messages with fds may follow in this turn: those that come now wait for its end, so that they
   * leave together. Left out: none does.
   */
  readonly fdsFollow?: boolean;
  /** Fds were not passed on: FDS_REFUSED, FDS_UNWANTED or LANE_CLOSED. */
  noteRefused(outcome: number, fds: number): void;
}

/** send(): too many fds wait in the client's socket; the next sign of reading is waited for. */
export const TAKING_AWAITED = -100;
/** send(): the client has closed its lane; docs/protocol.md section 7. A refusal like the kernel's. */
export const LANE_CLOSED = -101;

const LANE_RECORD = new PinnedBuffer(LANE_RECORD_BYTES);

/** Fds on their way to one client. */
export class FdOutlet {
  readonly #sink: PacketSink;
  readonly #host: FdOutletHost;
  /** Undefined until some are sent: most clients never get any. */
  #untaken: UntakenFds | undefined;
  #fd: number;
  #isOnLane = false;
  #laneSequence = 0;
  /** Records sent on #fd. */
  #records = 0;
  #sentSinceLook = 0;

  /** Fds that ever left here. */
  fdsSent = 0;

  /** @param fd the connection's socket, borrowed */
  constructor(fd: number, sink: PacketSink, host: FdOutletHost) {
    this.#fd = fd;
    this.#sink = sink;
    this.#host = host;
  }

  /** The socket that fds leave on. */
  get fd(): number {
    return this.#fd;
  }

  get isOnLane(): boolean {
    return this.#isOnLane;
  }

  /** Fds in the socket that may not be taken yet, as of the last look. */
  get untakenFds(): number {
    return this.#untaken?.count ?? 0;
  }

  /** When the oldest of them was sent; Infinity for none. */
  get oldestAt(): number {
    return this.#untaken?.oldestAt ?? NEVER;
  }

  /** From now on fds go out on this socket, borrowed; docs/protocol.md section 7. */
  useLane(laneFd: number): void {
    this.#fd = laneFd;
    this.#isOnLane = true;
    this.#records = 0;
  }

  /** A record without fds has gone out on the connection's socket. */
  noteRecord(): void {
    if (!this.#isOnLane) this.#records += 1;
  }

  /**
   * Sends fds: with the frame, or alone on the lane.
   * @param fds those of the bundle that this connection gets
   * @returns bytes sent; or an outcome of sendPacketWithFds(), or TAKING_AWAITED, with nothing sent.
   *   Once sent, the payer is released here, when they are taken
   */
  send(
    source: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
    fds: readonly number[],
  ): number {
    if (!this.#hasRoomFor(fds.length)) return TAKING_AWAITED;
    const sent = this.#isOnLane
      ? this.#sendOnLane(fds)
      : this.#sink.sendPacketWithFds(this.#fd, source, offset, bytes, fds);
    if (sent > 0) this.#noteSent(fds.length, bundle.payer);
    else if (isRefusal(sent)) this.#host.noteRefused(sent, fds.length);
    return sent;
  }

  #noteSent(fds: number, payer: FdPayer): void {
    this.#records += 1;
    this.#sentSinceLook += fds;
    this.fdsSent += fds;
    this.#untaken ??= new UntakenFds();
    this.#untaken.push(this.#records, fds, payer, this.#host.fdClock);
  }

  /**
   * Sends the packets at the start of a queue by one system call, as far as they carry a few fds each.
   * @returns how many were sent, their payers being released as by send(). 0: nothing has happened,
   *   and the first is for send() to try
   */
  sendTogether(waiting: WaitingPackets): number {
    if (this.#isOnLane || this.#sink.sendPacketsWithFds === undefined) return 0;
    let count = 0;
    let fds = 0;
    for (; count < RECORDS_TOGETHER_MAX; count += 1) {
      const packet = waiting.at(count);
      if (packet?.bundle === undefined || packet.fds.length > RECORD_FDS_TOGETHER_MAX) break;
      fds += packet.fds.length;
    }
    if (count < 2 || !this.#hasRoomFor(fds)) return 0;
    const sent = this.#sink.sendPacketsWithFds(this.#fd, waiting, count);
    for (let index = 0; index < sent; index += 1) {
      const { bundle, fds } = waiting.at(index) as QueuedPacket;
      this.#noteSent(fds.length, (bundle as FdBundle).payer);
    }
    return sent;
  }

  /** Looks which fds the client has taken; releases who paid for them. */
  look(): void {
    this.#sentSinceLook = 0;
    if (this.untakenFds === 0) return;
    this.#untaken?.settle(this.#records - this.#sink.countUnreadRecords(this.#fd));
  }

  /**
   * Nobody pays any more for what is in the socket, though it is still there.
   * @param areExpired whether that is because the client did not take it in time
   */
  disown(areExpired: boolean): void {
    this.#untaken?.disown(areExpired);
  }

  #hasRoomFor(fds: number): boolean {
    if (this.#sentSinceLook < FDS_UNTAKEN_BEFORE_LOOK && this.#fits(fds)) return true;
    this.look();
    return this.#fits(fds);
  }

  /** A message of any size fits where nothing waits. */
  #fits(fds: number): boolean {
    return this.untakenFds === 0 || this.untakenFds + fds <= FDS_UNTAKEN_MAX;
  }

  /** One record on the lane. */
  #sendOnLane(fds: readonly number[]): number {
    LANE_RECORD.words[0] = this.#laneSequence + 1;
    LANE_RECORD.words[1] = fds.length;
    const sent = this.#sink.sendPacketWithFds(this.#fd, LANE_RECORD, 0, LANE_RECORD_BYTES, fds);
    if (sent > 0) this.#laneSequence += 1;
    return sent === PEER_CLOSED ? LANE_CLOSED : sent;
  }
}

/** These fds cannot pass; the message itself may go out without them. */
export function isRefusal(outcome: number): boolean {
  return outcome === FDS_REFUSED || outcome === FDS_UNWANTED || outcome === LANE_CLOSED;
}

/** How a message that loses its fds to a refusal is told. */
export function lossOf(refusal: number): FdLoss {
  return refusal === LANE_CLOSED ? LANE_GONE : KERNEL_REFUSED;
}

/**
 * Nothing more can be sent. EMSGSIZE counts too: the socket's SO_SNDBUF does not hold one packet,
 * and never will. All other failures (EAGAIN, ENOBUFS, ENOMEM) are waited out with EPOLLOUT.
 */
export function isGone(outcome: number): boolean {
  return outcome === PEER_CLOSED || outcome === RECORD_TOO_LARGE;
}
