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

import { assert } from "../assert.ts";
import { copyPinned, type PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { gapBody } from "../protocol/control-messages.ts";
import { GAP_REASON, OPCODE, WITHHELD_REASON } from "../protocol/opcodes.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "./control-frames.ts";
import type { FdBundle } from "./fd-bundle.ts";
import {
  FdOutlet,
  type FdOutletHost,
  isGone,
  isRefusal,
  type PacketSink,
  TAKING_AWAITED,
} from "./fd-outlet.ts";
import {
  encodeLostBody,
  isMessage,
  laneKind,
  markFdsLost,
  memoryBytesOf,
  needsFds,
  withheldKind,
} from "./frame-marks.ts";
import { GapLedger } from "./gap-ledger.ts";
import {
  DIRECT_SEND_BYTES_MIN,
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
  SEND_QUEUE_CONTROL_BYTES_MAX,
  SEND_QUEUE_FDS_MAX,
  SEND_QUEUE_MEMORY_BYTES_MAX,
  SEND_QUEUE_MEMORY_BYTES_RESUME,
} from "./limits.ts";
import { PacketLine } from "./packet-line.ts";
import type { PacketShare, QueuedPacket } from "./packet-pool.ts";

/** deliver() and push(): taken, sent or queued. */
export const ACCEPTED = 1;
/** deliver(): the queue is full; the loss is recorded and will be told. push(): evict the client. */
export const QUEUE_FULL = 2;
/** The other side is gone; close the connection. */
export const PEER_GONE = 3;
/** flush(): the socket takes no more now; wait for EPOLLOUT on `blockedFd`. */
export const BLOCKED = 4;
/** deliverWithFds(): the kernel does not pass on what the frame is nothing without. */
export const FDS_NOT_PASSED = 5;

/** Frames on their way to one connection. */
export class SendQueue {
  readonly #fd: number;
  readonly #sink: PacketSink;
  readonly #pool: PacketShare;
  readonly #outletHost: FdOutletHost;
  readonly #ledger = new GapLedger();
  readonly #packets = new PacketLine();
  #queuedBytes = 0;
  #queuedFds = 0;
  #queuedMemoryBytes = 0;
  #isAbandoned = false;

  /** Where fds leave. */
  readonly outlet: FdOutlet;
  /** Something was lost, and no message is taken before there is room again. */
  isShedding = false;
  /** The fd that must become writable before flush() can go on; -1 where nothing is blocked. */
  blockedFd = -1;
  /** `blockedFd` may be writable, but flush() can go on only when the client takes fds from it. */
  awaitsTaking = false;

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
    this.#outletHost = outletHost;
    this.outlet = new FdOutlet(fd, sink, outletHost);
  }

  get isEmpty(): boolean {
    return this.#packets.length === 0;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get queuedFds(): number {
    return this.#queuedFds;
  }

  /** Bytes of large bodies that wait; the memory is shared with other queues. */
  get queuedMemoryBytes(): number {
    return this.#queuedMemoryBytes;
  }

  /** From now on fds go out on this socket, borrowed; docs/protocol.md section 7. */
  useLane(laneFd: number): void {
    this.outlet.useLane(laneFd);
  }

  /**
   * Sends or queues a run of message frames without fds, or one frame of a call.
   * @param source buffer that holds the run, borrowed for the call
   * @param offset bytes from its start
   * @param bytes length of the run: whole frames with padding
   * @returns ACCEPTED, QUEUE_FULL (messages are recorded as lost) or PEER_GONE
   */
  deliver(source: PinnedBuffer, offset: number, bytes: number): number {
    if (this.#isAbandoned) return PEER_GONE;
    if (bytes >= DIRECT_SEND_BYTES_MIN && this.#packets.length === 0) {
      const outcome = this.#sink.sendPacket(this.#fd, source, offset, bytes);
      if (outcome === bytes) {
        this.outlet.noteRecord();
        return ACCEPTED;
      }
      if (isGone(outcome)) return PEER_GONE;
      this.blockedFd = this.#fd;
    }
    const packet = this.isShedding ? undefined : this.#packetFor(bytes);
    if (packet === undefined) return this.#lose(source, offset, bytes);
    this.#copyInto(packet, source, offset, bytes);
    return ACCEPTED;
  }

  /**
   * Sends or queues one frame that carries fds, in-band or on the lane.
   * @param bundle borrowed; the queue retains it for as long as the message waits. Its payer was
   *   charged for these fds, and is released when they are taken, or lost on the way
   * @param fds those of the bundle that this connection gets
   * @returns as deliver(); where the kernel refuses the fds, the frame goes out as withheld. One that
   *   needs them is recorded as lost if a message, else FDS_NOT_PASSED, or later bundle.onRefused()
   */
  deliverWithFds(
    source: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
    fds: readonly number[] = bundle.fds,
  ): number {
    if (this.#isAbandoned) {
      bundle.payer.release(fds.length);
      return PEER_GONE;
    }
    if (this.isEmpty) {
      const outcome = this.#sendFdsNow(source, offset, bytes, bundle, fds);
      if (outcome !== BLOCKED) return outcome;
    }
    const memoryBytes = memoryBytesOf(source, offset);
    const fits =
      !this.isShedding &&
      this.#queuedBytes + bytes <= SEND_QUEUE_BYTES_MAX &&
      this.#queuedFds + fds.length <= SEND_QUEUE_FDS_MAX &&
      this.#queuedMemoryBytes + memoryBytes <= SEND_QUEUE_MEMORY_BYTES_MAX;
    const packet = fits ? this.#pool.acquireSized(bytes, !this.isEmpty) : undefined;
    if (packet === undefined) {
      bundle.payer.release(fds.length);
      return this.#lose(source, offset, bytes);
    }
    packet.bundle = bundle.retain();
    packet.fds = fds;
    packet.queuedAt = this.#outletHost.fdClock;
    packet.memoryBytes = memoryBytes;
    this.#queuedFds += fds.length;
    this.#queuedMemoryBytes += memoryBytes;
    this.#packets.push(packet);
    this.#copyInto(packet, source, offset, bytes);
    return ACCEPTED;
  }

  /**
   * Sends or queues one message frame without the files it came with, and says so in its flags.
   * @param bundle as for deliverWithFds(); a large body in it goes along
   */
  deliverWithheld(source: PinnedBuffer, offset: number, bytes: number, bundle: FdBundle): number {
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    source.words[word] = withheldKind(kind, WITHHELD_REASON.POLICY);
    const outcome =
      bundle.bodyFds.length === 0
        ? this.deliver(source, offset, bytes)
        : this.deliverWithFds(source, offset, bytes, bundle, bundle.bodyFds);
    source.words[word] = kind;
    return outcome;
  }

  /**
   * Delivers one message frame without any of its fds, because the client has not taken earlier ones:
   * as withheld, or where its body is behind one of them, as lost. No copy of it is charged.
   */
  deliverStalled(source: PinnedBuffer, offset: number, bytes: number): number {
    if (this.#isAbandoned) return PEER_GONE;
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    if (needsFds(kind)) {
      const gapBytes = encodeLostBody(source.words[word + 1] ?? 0, GAP_REASON.BODY_EXPIRED);
      const isTold = !this.isShedding && this.push(CONTROL_FRAME_BUFFER, gapBytes) === ACCEPTED;
      return isTold ? QUEUE_FULL : this.#lose(source, offset, bytes);
    }
    const marked = withheldKind(kind, WITHHELD_REASON.EXPIRED);
    return this.#deliverAs(marked, source, offset, bytes);
  }

  /**
   * Sends one last packet, past all that waits, which is lost with the connection.
   * @param bytes of CONTROL_FRAME_BUFFER
   */
  sendLast(bytes: number): void {
    this.abandon();
    this.#sink.sendPacket(this.#fd, CONTROL_FRAME_BUFFER, 0, bytes);
  }

  /**
   * Sends one packet with fds in-band, past the queue, which must be empty: WELCOME with the lane.
   * @param fds borrowed
   * @returns outcome of sendPacketWithFds()
   */
  sendNow(source: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    assert(this.isEmpty, "nothing is overtaken");
    return this.#sink.sendPacketWithFds(this.#fd, source, 0, bytes, fds);
  }

  /**
   * Queues one control frame; it is sent at the next flush(). Control frames may use the reserve
   * beyond SEND_QUEUE_BYTES_MAX, so a slow reader still learns what it lost.
   * @returns ACCEPTED, or QUEUE_FULL where even the reserve is used up
   */
  push(source: PinnedBuffer, bytes: number): number {
    if (this.#isAbandoned) return ACCEPTED;
    if (this.#queuedBytes + bytes > SEND_QUEUE_BYTES_MAX + SEND_QUEUE_CONTROL_BYTES_MAX) {
      return QUEUE_FULL;
    }
    const tail = this.#packets.last;
    const hasRoom = tail !== undefined && tail.bundle === undefined && tail.room >= bytes;
    const packet = hasRoom ? tail : this.#pool.acquireControl(!this.isEmpty);
    if (packet === undefined) return QUEUE_FULL;
    if (!hasRoom) this.#packets.push(packet);
    this.#copyInto(packet, source, 0, bytes);
    return ACCEPTED;
  }

  /** A topic id comes to stand for another topic: losses under it must not be told by its name. */
  forgetLostTopic(topicId: number): void {
    this.#ledger.forgetTopic(topicId);
  }

  /**
   * Sends what waits until the socket takes no more, and tells gaps once there is room again.
   * @returns ACCEPTED where nothing is left, BLOCKED, PEER_GONE, or QUEUE_FULL where the gaps do
   *   not fit (evict the client)
   */
  flush(): number {
    for (;;) {
      const outcome = this.#sendQueued();
      if (outcome === PEER_GONE) return PEER_GONE;
      if (this.isShedding && this.#hasRoomAgain()) {
        if (this.#pushGaps() === QUEUE_FULL) return QUEUE_FULL;
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
    this.#isAbandoned = true;
    this.blockedFd = -1;
    this.awaitsTaking = false;
    for (let index = 0; index < this.#packets.length; index += 1) {
      const packet = this.#packets.at(index);
      if (packet === undefined) continue;
      packet.bundle?.payer.release(packet.fds.length);
      this.#pool.release(packet);
    }
    this.#packets.clear();
    this.#queuedBytes = 0;
    this.#queuedFds = 0;
    this.#queuedMemoryBytes = 0;
  }

  /**
   * Withdraws fds that have waited here for too long: their messages are delivered as withheld, or
   * where the body is behind one of them, told as lost.
   * @param before milliseconds on the broker's clock; what came to wait since stays
   * @returns copies that were withdrawn; their payer knows
   */
  expireFds(before: number): number {
    let expired = 0;
    for (let index = 0; index < this.#packets.length; index += 1) {
      const packet = this.#packets.at(index);
      const bundle = packet?.bundle;
      if (packet === undefined || bundle === undefined) continue;
      if (packet.queuedAt > before) break;
      expired += packet.fds.length;
      bundle.payer.expire(packet.fds.length);
      this.#loseFds(packet, bundle, WITHHELD_REASON.EXPIRED, GAP_REASON.BODY_EXPIRED);
    }
    return expired;
  }

  /** When the oldest fds came to wait, here or in the client's socket; Infinity for none. */
  oldestFdsAt(): number {
    if (this.outlet.untakenFds > 0) return this.outlet.oldestAt;
    return this.#queuedFds === 0 ? Number.POSITIVE_INFINITY : this.#packets.oldestFdsAt();
  }

  #hasRoomAgain(): boolean {
    if (this.#queuedMemoryBytes > SEND_QUEUE_MEMORY_BYTES_RESUME) return false;
    return this.#queuedBytes <= SEND_QUEUE_BYTES_RESUME;
  }

  #sendQueued(): number {
    this.blockedFd = -1;
    this.awaitsTaking = false;
    for (;;) {
      const packet = this.#packets.first;
      if (packet === undefined) return ACCEPTED;
      const outcome =
        packet.bundle === undefined
          ? this.#sendQueuedPacket(packet)
          : this.#sendQueuedFds(packet, packet.bundle);
      if (isGone(outcome)) return PEER_GONE;
      if (outcome < 0) {
        if (this.blockedFd < 0) this.blockedFd = this.#fd;
        return BLOCKED;
      }
      this.#queuedBytes -= packet.bytes;
      this.#queuedMemoryBytes -= packet.memoryBytes;
      this.#packets.shift();
      this.#pool.release(packet);
    }
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
    if (isRefusal(sent)) return this.#deliverRefused(source, offset, bytes);
    if (isGone(sent)) return PEER_GONE;
    if (sent < 0) {
      this.#noteFdsBlocked(sent);
      return BLOCKED;
    }
    if (!this.outlet.isOnLane) return ACCEPTED;
    const kind = source.words[(offset >>> 2) + 1] ?? 0;
    return this.#deliverAs(laneKind(kind), source, offset, bytes);
  }

  #noteFdsBlocked(outcome: number): void {
    this.blockedFd = this.outlet.fd;
    this.awaitsTaking = outcome === TAKING_AWAITED;
  }

  /** The queue is empty, and the kernel does not pass the fds of this frame on. */
  #deliverRefused(source: PinnedBuffer, offset: number, bytes: number): number {
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    if (needsFds(kind)) {
      if (!isMessage(kind)) return FDS_NOT_PASSED;
      const gapBytes = encodeLostBody(source.words[word + 1] ?? 0, GAP_REASON.BODY_REFUSED);
      const outcome = this.push(CONTROL_FRAME_BUFFER, gapBytes);
      assert(outcome === ACCEPTED, "an empty queue takes a gap");
      return QUEUE_FULL;
    }
    const marked = withheldKind(kind, WITHHELD_REASON.KERNEL);
    return this.#deliverAs(marked, source, offset, bytes);
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
   * The head of the queue carries fds. Once they are on the lane, or refused, the rest of it is a
   * packet like any other.
   * @returns bytes sent, or an outcome of sendPacket with the frame still queued
   */
  #sendQueuedFds(packet: QueuedPacket, bundle: FdBundle): number {
    const sent = this.outlet.send(packet.buffer, 0, packet.bytes, bundle, packet.fds);
    if (sent < 0 && !isRefusal(sent)) {
      if (!isGone(sent)) this.#noteFdsBlocked(sent);
      return sent;
    }
    if (sent < 0) {
      bundle.payer.release(packet.fds.length);
      this.#loseFds(packet, bundle, WITHHELD_REASON.KERNEL, GAP_REASON.BODY_REFUSED);
    } else this.#letGo(packet, bundle);
    if (sent > 0 && !this.outlet.isOnLane) return sent;
    if (sent > 0) packet.buffer.words[1] = laneKind(packet.buffer.words[1] ?? 0);
    return this.#sendQueuedPacket(packet);
  }

  #sendQueuedPacket(packet: QueuedPacket): number {
    if (packet.bytes === 0) return 0; // Its frame was lost with its fds.
    const outcome = this.#sink.sendPacket(this.#fd, packet.buffer, 0, packet.bytes);
    if (outcome > 0) this.outlet.noteRecord();
    return outcome;
  }

  /** The packet goes on without its fds. */
  #letGo(packet: QueuedPacket, bundle: FdBundle): void {
    this.#queuedFds -= packet.fds.length;
    bundle.release();
    packet.bundle = undefined;
  }

  /** A frame has lost its fds; where nothing is left of it, who brought it about is told. */
  #loseFds(
    packet: QueuedPacket,
    bundle: FdBundle,
    withheldReason: number,
    gapReason: number,
  ): void {
    const { bytes, memoryBytes } = packet;
    const isLeft = markFdsLost(packet, withheldReason, gapReason);
    this.#queuedBytes += packet.bytes - bytes;
    this.#queuedMemoryBytes += packet.memoryBytes - memoryBytes;
    // The packet still has its bundle, so whatever is queued now goes into another one.
    if (!isLeft) bundle.onRefused?.();
    this.#letGo(packet, bundle);
  }

  /**
   * Puts what was lost so far into the queue now, also where it is full: nothing but GOODBYE follows.
   * @returns ACCEPTED, or QUEUE_FULL where even the reserve is used up
   */
  tellGaps(): number {
    return this.isShedding ? this.#pushGaps() : ACCEPTED;
  }

  #pushGaps(): number {
    this.isShedding = false;
    for (const [topicId, count] of this.#ledger.take()) {
      const body = gapBody({ count, reason: GAP_REASON.SEND_QUEUE_FULL });
      const bytes = encodeControlFrame({ opcode: OPCODE.GAP, id: topicId, body });
      if (this.push(CONTROL_FRAME_BUFFER, bytes) === QUEUE_FULL) return QUEUE_FULL;
    }
    return ACCEPTED;
  }

  /** The packet at the end of the queue with room for `bytes`, or a new one; undefined when full. */
  #packetFor(bytes: number): QueuedPacket | undefined {
    if (this.#queuedBytes + bytes > SEND_QUEUE_BYTES_MAX) return undefined;
    const tail = this.#packets.last;
    if (tail !== undefined && tail.bundle === undefined && tail.room >= bytes) return tail;
    if (tail !== undefined && this.blockedFd < 0) this.#sendQueued();
    const packet = this.#pool.acquire(!this.isEmpty);
    if (packet !== undefined) this.#packets.push(packet);
    return packet;
  }

  #copyInto(packet: QueuedPacket, source: PinnedBuffer, offset: number, bytes: number): void {
    copyPinned(source, offset, packet.buffer, packet.bytes, bytes);
    packet.bytes += bytes;
    this.#queuedBytes += bytes;
  }

  #lose(source: PinnedBuffer, offset: number, bytes: number): number {
    if (!isMessage(source.words[(offset >>> 2) + 1] ?? 0)) return QUEUE_FULL;
    this.isShedding = true;
    this.#ledger.record(source.words, offset, bytes);
    return QUEUE_FULL;
  }
}
