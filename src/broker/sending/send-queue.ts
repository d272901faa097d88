/**
 * What one connection is still to be sent, in order.
 *
 *   deliver() ──► queue empty and run large? ──► send(2) straight from the receive buffer
 *                    │ no, or would block
 *                    ▼
 *   [packet][packet][packet: being filled]  ──► flush() at the end of the turn or when writable
 *
 * Invariants: frames leave in the order in which they came in; a queue is never larger than
 * SEND_QUEUE_BYTES_MAX plus the reserve for control frames; a message that does not fit is counted
 * in the gap ledger and told in its place; an empty queue takes any one packet.
 * The kernel is handed in as PacketSink, so this runs against a simulated one in tests.
 */

import { assert } from "../../assert.ts";
import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import { WITHHELD_REASON } from "../../protocol/opcodes.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import {
  FdOutlet,
  type FdOutletHost,
  isGone,
  isRefusal,
  lossOf,
  type PacketSink,
} from "../fds/fd-outlet.ts";
import { CONTROL_FRAME_BUFFER } from "./control-frames.ts";
import {
  encodeGap,
  type FdLoss,
  isMessage,
  laneKind,
  NOT_TAKEN,
  needsFds,
  withheldKind,
} from "./frame-marks.ts";
import { DIRECT_SEND_BYTES_MIN } from "./limits.ts";
import type { LaterLossListener } from "./loss-tally.ts";
import type { PacketShare } from "./packet-pool.ts";
import { NOT_TURNED_AWAY, QueueArrival } from "./queue-arrival.ts";
import { QueueDeparture } from "./queue-departure.ts";
import { QueueLosses } from "./queue-losses.ts";
import { ACCEPTED, BLOCKED, PEER_GONE, QUEUE_FULL } from "./queue-outcomes.ts";
import * as room from "./queue-room.ts";
import { WaitingPackets, type Withdrawn } from "./waiting-packets.ts";

/** Frames on their way to one connection. */
export class SendQueue {
  readonly #fd: number;
  readonly #sink: PacketSink;
  readonly #pool: PacketShare;
  readonly #outletHost: FdOutletHost;
  readonly #waiting: WaitingPackets;
  readonly #departure: QueueDeparture;
  readonly #arrival: QueueArrival;

  /** What the client lost and is to be told. */
  readonly losses = new QueueLosses();
  /** Where fds leave. */
  readonly outlet: FdOutlet;

  /** Messages that abandon() let go of, last values and those of the broker included. */
  messagesAbandoned = 0;

  /**
   * @param fd the connection's socket, borrowed
   * @param sink the kernel
   * @param pool what the connection takes its packets from
   * @param outletHost for the outlet of this queue
   */
  constructor(fd: number, sink: PacketSink, pool: PacketShare, outletHost: FdOutletHost) {
    this.#fd = fd;
    this.#sink = sink;
    this.#pool = pool;
    this.#waiting = new WaitingPackets(pool);
    this.#outletHost = outletHost;
    this.outlet = new FdOutlet(fd, sink, outletHost);
    this.#departure = new QueueDeparture(fd, sink, this.#waiting, this.outlet);
    this.#arrival = new QueueArrival({
      waiting: this.#waiting,
      pool,
      losses: this.losses,
      departure: this.#departure,
      outletHost,
    });
  }

  /** The fd that must become writable before flush() can go on; -1 where nothing is blocked. */
  get blockedFd(): number {
    return this.#departure.blockedFd;
  }

  /** `blockedFd` may be writable, but flush() can go on only when the client takes fds from it. */
  get awaitsTaking(): boolean {
    return this.#departure.awaitsTaking;
  }

  /** Whether abandon() was called: nothing gets to the client any more. */
  get isAbandoned(): boolean {
    return this.#arrival.isShut;
  }

  get isEmpty(): boolean {
    return this.#waiting.isEmpty;
  }

  /** Whether flush() has something to do: frames wait, or losses are to be told. */
  get needsFlush(): boolean {
    return this.losses.isShedding || !this.#waiting.isEmpty;
  }

  get queuedBytes(): number {
    return this.#waiting.bytes;
  }

  /** All that ever came to wait: `queuedBytes` of it are still there. */
  get takenBytes(): number {
    return this.#waiting.bytesTaken;
  }

  get queuedFds(): number {
    return this.#waiting.fds;
  }

  /** Grows with each bundle that comes to wait, or leaves: after a failure it tells whether one did. */
  get fdsAccepted(): number {
    return this.#waiting.fdsTaken + this.outlet.fdsSent;
  }

  /** Bytes of large bodies that wait; the memory is shared with other queues. */
  get queuedMemoryBytes(): number {
    return this.#waiting.memoryBytes;
  }

  /** Publishers are to be held back for a client that asked for it, until isLow. */
  get isHigh(): boolean {
    return room.isHigh(this.#waiting) || this.#isQuotaUsedUp;
  }

  /** At most half of what may wait does, and the quota lets one more packet wait. */
  get isLow(): boolean {
    return room.isLow(this.#waiting) && !this.#isQuotaUsedUp;
  }

  /** Whether the quota keeps packets out, which it does of no queue that is empty. */
  get #isQuotaUsedUp(): boolean {
    return !this.isEmpty && !this.#pool.hasRoomFor(PACKET_BYTES_MAX);
  }

  /** What keeps a message out that was refused, or a control frame. */
  fullness(of: "messages" | "control"): room.Fullness {
    const { sought } = this.#waiting;
    if (of === "messages") return room.fullnessOf(this.#waiting, sought, this.#pool.lack());
    return room.controlFullnessOf(this.#waiting, sought, this.#pool.reserveBytes);
  }

  /** One frame has no room: fullness() counts it as if it waited. @returns QUEUE_FULL */
  refuse(bytes: number): number {
    return this.#arrival.refuse(bytes);
  }

  /** Messages that were taken, and lost while they waited. */
  get withdrawn(): Withdrawn {
    return this.#waiting.withdrawn;
  }

  /** Told whose messages these were, after each time that some are lost. */
  set onLost(listener: LaterLossListener) {
    this.#waiting.onLost = listener;
  }

  /** Packets that waited and have left. It grows as long as the client reads. */
  get packetsSent(): number {
    return this.#waiting.packetsSent;
  }

  /** Whether a run would be taken without dropping anything. */
  hasRoomFor(bytes: number): boolean {
    return this.#arrival.hasRoomFor(bytes);
  }

  /** Whether the name of a topic is to be sent; else messages on it are lost. May drop old ones. */
  takesName(topicId: number): boolean {
    return this.#arrival.takesName(topicId);
  }

  /** Sets what happens to the messages of a topic id where they do not fit. */
  setOverflow(topicId: number, overflow: OverflowPolicy): void {
    this.#arrival.setOverflow(topicId, overflow);
  }

  /**
   * Sends or queues a run of message frames without fds, or one frame of a call.
   * @param source buffer that holds the run, borrowed for the call
   * @param offset bytes from its start
   * @param bytes length of the run: whole frames with padding
   * @returns ACCEPTED, QUEUE_FULL (messages are recorded as lost), SLOW_READER or PEER_GONE
   */
  deliver(source: PinnedBuffer, offset: number, bytes: number): number {
    if (this.#arrival.isShut || this.losses.hasHidden) {
      const outcome = this.#arrival.turnAway(source, offset, bytes);
      if (outcome !== NOT_TURNED_AWAY) return outcome;
    }
    if (bytes >= DIRECT_SEND_BYTES_MIN && this.isEmpty && !this.losses.isShedding) {
      const outcome = this.#sink.sendPacket(this.#fd, source, offset, bytes);
      if (outcome === bytes) {
        this.outlet.noteRecord();
        return ACCEPTED;
      }
      if (isGone(outcome)) return PEER_GONE;
      this.#departure.noteBlocked();
    }
    return this.#arrival.add(source, offset, bytes);
  }

  /**
   * Sends or queues one frame that carries fds, in-band or on the lane.
   * @param bundle borrowed; the queue retains it for as long as the message waits. Its payer was
   *   charged for these fds, and is released when they are taken, or lost on the way
   * @param fds those of the bundle that this connection gets
   * @returns as deliver(); where the kernel refuses the fds, the frame goes out as withheld. One that
   *   needs them is recorded as lost if a message, else FDS_NOT_PASSED or NO_FD_LANE, or later the
   *   same to bundle.onRefused()
   */
  deliverWithFds(
    source: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
    fds: readonly number[] = bundle.fds,
  ): number {
    let outcome = this.#arrival.turnAway(source, offset, bytes);
    if (outcome === NOT_TURNED_AWAY) {
      if (this.#leavesNow(bytes)) {
        const sent = this.#sendFdsNow(source, offset, bytes, bundle, fds);
        if (sent !== BLOCKED) return sent;
      }
      outcome = this.#arrival.addWithFds(source, offset, bytes, bundle, fds);
    }
    if (outcome !== ACCEPTED) bundle.payer.release(fds.length);
    return outcome;
  }

  /**
   * Sends or queues one message frame without the files it came with, and says so in its flags.
   * @param bundle as for deliverWithFds(); a large body in it goes along
   */
  deliverWithheld(source: PinnedBuffer, offset: number, bytes: number, bundle: FdBundle): number {
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    const marked = withheldKind(kind, WITHHELD_REASON.POLICY);
    if (bundle.bodyFds.length === 0) return this.#deliverAs(marked, source, offset, bytes);
    source.words[word] = marked;
    const outcome = this.deliverWithFds(source, offset, bytes, bundle, bundle.bodyFds);
    source.words[word] = kind;
    return outcome;
  }

  /**
   * Delivers one message frame without any of its fds, because the client has not taken earlier ones:
   * as withheld, or where its body is behind one of them, as lost. No copy of it is charged.
   */
  deliverStalled(source: PinnedBuffer, offset: number, bytes: number): number {
    const outcome = this.#arrival.turnAway(source, offset, bytes);
    if (outcome !== NOT_TURNED_AWAY) return outcome;
    return this.#deliverWithoutFds(source, offset, bytes, NOT_TAKEN);
  }

  /**
   * Sends one packet past the queue, which must be empty: WELCOME, with the lane in-band or without.
   * A queue that nothing ever waited in takes little memory, and most clients get nothing else.
   * @param fds borrowed; may be none
   * @returns outcome of sendPacketWithFds() or sendPacket()
   */
  sendNow(source: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    assert(this.isEmpty, "nothing is overtaken");
    if (fds.length > 0) return this.#sink.sendPacketWithFds(this.#fd, source, 0, bytes, fds);
    const sent = this.#sink.sendPacket(this.#fd, source, 0, bytes);
    if (sent > 0) this.outlet.noteRecord();
    return sent;
  }

  /**
   * Queues one control frame; it is sent at the next flush(). Control frames may use the reserve
   * beyond SEND_QUEUE_BYTES_MAX, so a slow reader still learns what it lost.
   * @returns ACCEPTED, or QUEUE_FULL where even the reserve is used up
   */
  push(source: PinnedBuffer, bytes: number): number {
    return this.#arrival.addControl(source, bytes);
  }

  /**
   * Whether a frame with fds is tried now, past the queue, which is empty then. While more may follow
   * they wait for each other; where one finds no room, those before it leave first.
   */
  #leavesNow(bytes: number): boolean {
    if (this.losses.isShedding) return false;
    if (this.#outletHost.fdsFollow !== true) return this.isEmpty;
    const hasRoom = !room.isCrowded(this.#waiting) && this.#arrival.canAdd(bytes);
    if (!hasRoom && this.blockedFd < 0) this.#departure.sendWaiting();
    return false;
  }

  /** What waits for the end of the turn leaves now, as far as the socket takes it. */
  sendWaiting(): void {
    if (this.blockedFd < 0 && !this.isEmpty) this.#departure.sendWaiting();
  }

  /**
   * Finds out which fds were taken, for a publisher whose quota runs short. What waits for others of
   * this turn leaves before: nobody can take what was not sent.
   */
  lookForTaken(): void {
    this.sendWaiting();
    this.outlet.look();
  }

  /**
   * Sends what waits until the socket takes no more, and tells gaps once there is room again.
   * @returns ACCEPTED where nothing is left, BLOCKED, PEER_GONE, or QUEUE_FULL where the gaps do
   *   not fit (evict the client)
   */
  flush(): number {
    for (;;) {
      const outcome = this.#departure.sendWaiting();
      if (outcome === PEER_GONE) return PEER_GONE;
      if (this.losses.isShedding && room.hasRoomAgain(this.#waiting)) {
        if (this.tellGaps() === QUEUE_FULL) return QUEUE_FULL;
        if (outcome === ACCEPTED) continue;
      }
      return outcome;
    }
  }

  /**
   * Nobody reads at the other end any more: lets go of everything that waits, and takes no more.
   * deliver() returns PEER_GONE from now on, push() and flush() do nothing.
   */
  abandon(): void {
    this.#arrival.isShut = true;
    this.#departure.noteUnblocked();
    this.messagesAbandoned += this.#waiting.abandon();
  }

  /**
   * Withdraws fds that have waited here for too long: their messages are delivered as withheld, or
   * where the body is behind one of them, told as lost.
   * @param before milliseconds on the broker's clock; what came to wait since stays
   * @returns copies that were withdrawn; their payer knows
   */
  expireFds(before: number): number {
    return this.#waiting.expireFds(before);
  }

  /** When the oldest fds came to wait, here or in the client's socket; Infinity for none. */
  oldestFdsAt(): number {
    return this.outlet.untakenFds > 0 ? this.outlet.oldestAt : this.#waiting.oldestFdsAt();
  }

  /**
   * The queue is empty: one frame with its fds goes out at once, if the socket takes it.
   * @returns ACCEPTED, PEER_GONE, or BLOCKED with nothing sent
   */
  #sendFdsNow(
    source: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
    fds: readonly number[],
  ): number {
    const sent = this.outlet.send(source, offset, bytes, bundle, fds);
    if (isRefusal(sent) || isGone(sent)) bundle.payer.release(fds.length);
    if (isRefusal(sent)) return this.#deliverWithoutFds(source, offset, bytes, lossOf(sent));
    if (isGone(sent)) return PEER_GONE;
    if (sent < 0) {
      this.#departure.noteFdsBlocked(sent);
      return BLOCKED;
    }
    if (!this.outlet.isOnLane) return ACCEPTED;
    const kind = source.words[(offset >>> 2) + 1] ?? 0;
    return this.#deliverAs(laneKind(kind), source, offset, bytes);
  }

  /** Delivers a frame that does not get its fds: as withheld, or where it needs them, as lost. */
  #deliverWithoutFds(source: PinnedBuffer, offset: number, bytes: number, loss: FdLoss): number {
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    if (!needsFds(kind)) {
      return this.#deliverAs(withheldKind(kind, loss.withheld), source, offset, bytes);
    }
    if (!isMessage(kind)) return loss.outcome;
    const gapBytes = encodeGap(source.words[word + 1] ?? 0, 1, loss.gap);
    if (this.losses.isShedding) return this.#arrival.lose(source, offset, bytes);
    const isTold = this.push(CONTROL_FRAME_BUFFER, gapBytes) === ACCEPTED;
    return isTold ? QUEUE_FULL : this.#arrival.lose(source, offset, bytes);
  }

  /** Delivers a frame without fds, with another kind word in its header. */
  #deliverAs(kind: number, source: PinnedBuffer, offset: number, bytes: number): number {
    const word = (offset >>> 2) + 1;
    const original = source.words[word] ?? 0;
    source.words[word] = kind;
    const outcome = this.deliver(source, offset, bytes);
    source.words[word] = original;
    return outcome;
  }

  /**
   * Puts what was lost so far into the queue now, also where it is full: nothing but GOODBYE follows.
   * @returns ACCEPTED, or QUEUE_FULL where even the reserve is used up
   */
  tellGaps(): number {
    return this.#arrival.tellGaps();
  }
}
