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
import { copyPinned, PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { PEER_CLOSED, RECORD_TOO_LARGE } from "../ffi/syscall-result.ts";
import { gapBody } from "../protocol/control-messages.ts";
import { FRAME_ID_WORD, paddedBytes } from "../protocol/frame.ts";
import { PACKET_BYTES_MAX } from "../protocol/limits.ts";
import { GAP_REASON, OPCODE, WITHHELD_REASON } from "../protocol/opcodes.ts";
import { isLarge } from "../protocol/packet.ts";
import type { OverflowPolicy } from "../protocol/words.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "./control-frames.ts";
import type { FdBundle } from "./fd-bundle.ts";
import { FdOutlet, isRefusal, type PacketSink } from "./fd-outlet.ts";
import { encodeRefusedBody, laneKind, memoryBytesOf, withheldKind } from "./frame-marks.ts";
import { GapLedger, SEVERAL_TOPICS } from "./gap-ledger.ts";
import {
  DIRECT_SEND_BYTES_MIN,
  LATEST_BYTES_KEPT,
  SEND_QUEUE_BYTES_HOLD,
  SEND_QUEUE_BYTES_MAX,
  SEND_QUEUE_BYTES_RESUME,
  SEND_QUEUE_CONTROL_BYTES_MAX,
  SEND_QUEUE_FDS_HOLD,
  SEND_QUEUE_FDS_MAX,
  SEND_QUEUE_FDS_RESUME,
  SEND_QUEUE_MEMORY_BYTES_HOLD,
  SEND_QUEUE_MEMORY_BYTES_MAX,
  SEND_QUEUE_MEMORY_BYTES_RESUME,
} from "./limits.ts";
import { OVERFLOW_DEFAULT } from "./overflow-rules.ts";
import { type PacketPool, QueuedPacket } from "./packet-pool.ts";
import { QueueOverflow } from "./queue-overflow.ts";
import { WaitingPackets } from "./waiting-packets.ts";

/** deliver() and push(): taken, sent or queued. */
export const ACCEPTED = 1;
/** deliver(): the queue is full; the loss is recorded and will be told. push(): evict the client. */
export const QUEUE_FULL = 2;
/** The other side is gone; close the connection. */
export const PEER_GONE = 3;
/** deliver(): the queue is full, and the client wants to be closed rather than miss anything. */
export const SLOW_READER = 5;
/** flush(): the socket takes no more now; wait for EPOLLOUT on `blockedFd`. */
export const BLOCKED = 4;

/** Frames on their way to one connection. */
export class SendQueue {
  readonly #fd: number;
  readonly #sink: PacketSink;
  readonly #pool: PacketPool;
  readonly #ledger = new GapLedger();
  readonly #waiting: WaitingPackets;
  #isShedding = false;
  #isAbandoned = false;
  #overflow: QueueOverflow | undefined;
  /** Topic ids that the client was not told; undefined for none. */
  #hidden: Set<number> | undefined;
  /** Not every message is taken as it comes: deliver() has to look twice. */
  #isPicky = false;
  readonly #outlet: FdOutlet;

  /** The fd that must become writable before flush() can go on; -1 where nothing is blocked. */
  blockedFd = -1;
  /** Messages that abandon() let go of. */
  messagesAbandoned = 0;

  /**
   * @param fd the connection's socket, borrowed
   * @param sink the kernel
   * @param pool shared by all queues of a broker
   */
  constructor(fd: number, sink: PacketSink, pool: PacketPool) {
    this.#fd = fd;
    this.#sink = sink;
    this.#pool = pool;
    this.#waiting = new WaitingPackets(pool);
    this.#outlet = new FdOutlet(fd, sink);
  }

  get isEmpty(): boolean {
    return this.#waiting.isEmpty;
  }

  /** Whether flush() has something to do: frames wait, or losses are to be told. */
  get needsFlush(): boolean {
    return this.#isShedding || !this.#waiting.isEmpty;
  }

  get queuedBytes(): number {
    return this.#waiting.bytes;
  }

  get queuedFds(): number {
    return this.#waiting.fds;
  }

  /** Bytes of large bodies that wait; the memory is shared with other queues. */
  get queuedMemoryBytes(): number {
    return this.#waiting.memoryBytes;
  }

  /** Publishers are to be held back for a client that asked for it, until isLow. */
  get isHigh(): boolean {
    return (
      this.#waiting.bytes > SEND_QUEUE_BYTES_HOLD ||
      this.#waiting.fds > SEND_QUEUE_FDS_HOLD ||
      this.#waiting.memoryBytes > SEND_QUEUE_MEMORY_BYTES_HOLD
    );
  }

  /** At most half of what may wait does. */
  get isLow(): boolean {
    return this.#waiting.fds <= SEND_QUEUE_FDS_RESUME && this.#hasRoomAgain();
  }

  /** Packets that waited and have left. It grows as long as the client reads. */
  get packetsSent(): number {
    return this.#waiting.packetsSent;
  }

  /** Whether a run would be taken without dropping anything. */
  hasRoomFor(bytes: number): boolean {
    return (
      !this.#isShedding && !this.#isAbandoned && this.#waiting.bytes + bytes <= SEND_QUEUE_BYTES_MAX
    );
  }

  /** Sets what happens to the messages of a topic id where they do not fit. */
  setOverflow(topicId: number, overflow: OverflowPolicy): void {
    if (this.#overflow === undefined && overflow === OVERFLOW_DEFAULT) return;
    this.#overflow ??= new QueueOverflow();
    this.#overflow.set(topicId, overflow);
  }

  /** From now on fds go out on this socket, borrowed; docs/protocol.md section 7. */
  useLane(laneFd: number): void {
    this.#outlet.useLane(laneFd);
  }

  /**
   * Sends or queues a run of message frames without fds.
   * @param source buffer that holds the run, borrowed for the call
   * @param offset bytes from its start
   * @param bytes length of the run: whole frames with padding
   * @returns ACCEPTED, QUEUE_FULL (recorded as lost), SLOW_READER or PEER_GONE
   */
  deliver(source: PinnedBuffer, offset: number, bytes: number): number {
    if (this.#isPicky && this.#hides(source, offset, bytes)) {
      return this.#isAbandoned ? PEER_GONE : this.#lose(source, offset, bytes);
    }
    if (bytes >= DIRECT_SEND_BYTES_MIN && this.#waiting.isEmpty && !this.#isShedding) {
      const outcome = this.#sink.sendPacket(this.#fd, source, offset, bytes);
      if (outcome === bytes) return ACCEPTED;
      if (isGone(outcome)) return PEER_GONE;
      this.blockedFd = this.#fd;
    }
    const packet = this.#isShedding ? undefined : this.#packetFor(bytes);
    if (packet === undefined) return this.#deliverFull(source, offset, bytes);
    this.#waiting.append(packet, source, offset, bytes);
    return ACCEPTED;
  }

  /**
   * Sends or queues one message frame that carries fds, in-band or on the lane.
   * @param bundle borrowed; the queue retains it for as long as the message waits
   * @param fds those of the bundle that this connection gets
   * @returns as deliver(); where the kernel refuses the fds, the message is delivered as withheld,
   *   or if its body is behind one of them, recorded as lost
   */
  deliverWithFds(
    source: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
    fds: readonly number[] = bundle.fds,
  ): number {
    if (this.#isPicky && this.#hides(source, offset, bytes)) {
      return this.#isAbandoned ? PEER_GONE : this.#lose(source, offset, bytes);
    }
    if (this.isEmpty && !this.#isShedding) {
      const outcome = this.#sendFdsNow(source, offset, bytes, fds);
      if (outcome !== BLOCKED) return outcome;
    }
    const memoryBytes = memoryBytesOf(source, offset);
    const fits = () =>
      this.hasRoomFor(bytes) &&
      this.#waiting.fds + fds.length <= SEND_QUEUE_FDS_MAX &&
      this.#waiting.memoryBytes + memoryBytes <= SEND_QUEUE_MEMORY_BYTES_MAX;
    if (!fits()) {
      const outcome = this.#makeRoom(source, offset, bytes, fits);
      if (outcome !== ACCEPTED) return outcome;
    }
    const packet = new QueuedPacket(new PinnedBuffer(bytes));
    packet.bundle = bundle.retain();
    packet.fds = fds;
    packet.memoryBytes = memoryBytes;
    this.#waiting.push(packet);
    this.#waiting.append(packet, source, offset, bytes);
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
    if (this.#waiting.bytes + bytes > SEND_QUEUE_BYTES_MAX + SEND_QUEUE_CONTROL_BYTES_MAX) {
      return QUEUE_FULL;
    }
    const tail = this.#waiting.last;
    const hasRoom = tail !== undefined && tail.bundle === undefined && tail.room >= bytes;
    const packet = hasRoom ? tail : this.#pool.acquire(false);
    if (packet === undefined) return QUEUE_FULL;
    if (!hasRoom) this.#waiting.push(packet);
    this.#waiting.append(packet, source, 0, bytes);
    return ACCEPTED;
  }

  /** A topic id comes to stand for another topic: losses under it must not be told by its name. */
  forgetLostTopic(topicId: number): void {
    this.#ledger.forgetTopic(topicId);
  }

  /** Whether names of topics are to be sent: not while messages are lost, or are about to be. */
  get takesNames(): boolean {
    return this.hasRoomFor(PACKET_BYTES_MAX);
  }

  /** The client does not know a topic id: messages that bear it are lost to it, without a name. */
  hideTopic(topicId: number): void {
    this.#hidden ??= new Set();
    this.#hidden.add(topicId);
    this.#isPicky = true;
  }

  /** The client is told of a topic id now. */
  revealTopic(topicId: number): void {
    if (this.#hidden?.delete(topicId) !== true || this.#hidden.size > 0) return;
    this.#hidden = undefined;
    this.#isPicky = this.#isAbandoned;
  }

  /** Whether a run is not to be taken: nothing is any more, or one of its topics is hidden. */
  #hides({ words }: PinnedBuffer, offset: number, bytes: number): boolean {
    const hidden = this.#hidden;
    if (hidden === undefined || this.#isAbandoned) return this.#isAbandoned;
    for (let at = offset; at < offset + bytes; ) {
      if (hidden.has(words[(at >>> 2) + FRAME_ID_WORD] as number)) return true;
      at += paddedBytes(words[at >>> 2] as number);
    }
    return false;
  }

  /** Messages are lost that bear no topic id which the client knows. */
  loseUntold(messages: number): void {
    this.#isShedding = true;
    this.#ledger.add(SEVERAL_TOPICS, messages);
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
      if (this.#isShedding && this.#hasRoomAgain()) {
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
    this.messagesAbandoned += this.#waiting.countMessages();
    this.#isAbandoned = true;
    this.#isPicky = true;
    this.blockedFd = -1;
    this.#waiting.clear();
  }

  #hasRoomAgain(): boolean {
    if (this.#waiting.memoryBytes > SEND_QUEUE_MEMORY_BYTES_RESUME) return false;
    return this.#waiting.bytes <= SEND_QUEUE_BYTES_RESUME;
  }

  #sendQueued(): number {
    this.blockedFd = -1;
    for (let packet = this.#waiting.first; packet !== undefined; packet = this.#waiting.first) {
      const outcome =
        packet.bundle === undefined
          ? this.#sink.sendPacket(this.#fd, packet.buffer, 0, packet.bytes)
          : this.#sendQueuedFds(packet);
      if (isGone(outcome)) return PEER_GONE;
      if (outcome < 0) {
        if (this.blockedFd < 0) this.blockedFd = this.#fd;
        return BLOCKED;
      }
      this.#waiting.shift();
    }
    return ACCEPTED;
  }

  /**
   * The queue is empty: one frame with its fds goes out at once, if the socket takes it.
   * @returns ACCEPTED, PEER_GONE, or BLOCKED with nothing sent
   */
  #sendFdsNow(source: PinnedBuffer, offset: number, bytes: number, fds: readonly number[]): number {
    const sent = this.#outlet.send(source, offset, bytes, fds);
    if (isRefusal(sent)) return this.#deliverRefused(source, offset, bytes);
    if (isGone(sent)) return PEER_GONE;
    if (sent < 0) {
      this.blockedFd = this.#outlet.fd;
      return BLOCKED;
    }
    if (!this.#outlet.isOnLane) return ACCEPTED;
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    source.words[word] = laneKind(kind);
    const outcome = this.deliver(source, offset, bytes);
    source.words[word] = kind;
    return outcome;
  }

  /** The queue is empty, and the kernel does not pass the fds of this frame on. */
  #deliverRefused(source: PinnedBuffer, offset: number, bytes: number): number {
    const word = (offset >>> 2) + 1;
    const kind = source.words[word] ?? 0;
    if (isLarge(kind)) {
      const gapBytes = encodeRefusedBody(source.words[word + 1] ?? 0);
      const outcome = this.push(CONTROL_FRAME_BUFFER, gapBytes);
      assert(outcome === ACCEPTED, "an empty queue takes a gap");
      return QUEUE_FULL;
    }
    source.words[word] = withheldKind(kind, WITHHELD_REASON.KERNEL);
    const outcome = this.deliver(source, offset, bytes);
    source.words[word] = kind;
    return outcome;
  }

  /**
   * The head of the queue carries fds. Once they are on the lane, or refused, the rest of it is a
   * packet like any other.
   * @returns bytes sent, or an outcome of sendPacket with the frame still queued
   */
  #sendQueuedFds(packet: QueuedPacket): number {
    const sent = this.#outlet.send(packet.buffer, 0, packet.bytes, packet.fds);
    if (sent < 0 && !isRefusal(sent)) {
      this.blockedFd = this.#outlet.fd;
      return sent;
    }
    this.#waiting.releaseFds(packet);
    if (sent > 0 && !this.#outlet.isOnLane) return sent;
    const kind = packet.buffer.words[1] ?? 0;
    if (sent < 0 && isLarge(kind)) this.#replaceByGap(packet);
    else
      packet.buffer.words[1] =
        sent > 0 ? laneKind(kind) : withheldKind(kind, WITHHELD_REASON.KERNEL);
    return this.#sink.sendPacket(this.#fd, packet.buffer, 0, packet.bytes);
  }

  /** The message in a packet of its own is lost: in its place stands that it is. */
  #replaceByGap(packet: QueuedPacket): void {
    const gapBytes = encodeRefusedBody(packet.buffer.words[2] ?? 0);
    this.#waiting.bytes += gapBytes - packet.bytes;
    packet.buffer = new PinnedBuffer(gapBytes);
    packet.bytes = gapBytes;
    copyPinned(CONTROL_FRAME_BUFFER, 0, packet.buffer, 0, gapBytes);
  }

  /**
   * Puts what was lost so far into the queue now, also where it is full: nothing but GOODBYE follows.
   * @returns ACCEPTED, or QUEUE_FULL where even the reserve is used up
   */
  tellGaps(): number {
    return this.#isShedding ? this.#pushGaps() : ACCEPTED;
  }

  #pushGaps(): number {
    this.#isShedding = false;
    for (const [topicId, count] of this.#ledger.take()) {
      const body = gapBody({ count, reason: GAP_REASON.SEND_QUEUE_FULL });
      const bytes = encodeControlFrame({ opcode: OPCODE.GAP, id: topicId, body });
      if (this.push(CONTROL_FRAME_BUFFER, bytes) === QUEUE_FULL) return QUEUE_FULL;
    }
    return ACCEPTED;
  }

  /** A run that does not fit, or that comes while others are lost. */
  #deliverFull(source: PinnedBuffer, offset: number, bytes: number): number {
    const outcome = this.#makeRoom(source, offset, bytes, () => this.hasRoomFor(bytes));
    if (outcome !== ACCEPTED) return outcome;
    const packet = this.#packetFor(bytes) ?? this.#pool.acquireBeyond();
    if (packet !== this.#waiting.last) this.#waiting.push(packet);
    this.#waiting.append(packet, source, offset, bytes);
    return ACCEPTED;
  }

  /**
   * Makes room for a run by what its topics ask for, or records it as lost.
   * @param fits whether there is room
   * @returns ACCEPTED where it is to be taken; else as deliver()
   */
  #makeRoom(source: PinnedBuffer, offset: number, bytes: number, fits: () => boolean): number {
    const overflow = this.#overflow;
    if (overflow === undefined) return this.#lose(source, offset, bytes);
    const run = { offset, bytes };
    const has = (policy: OverflowPolicy) => overflow.runHas(policy, source.words, run);
    if (has("disconnect")) return SLOW_READER;
    const mustTake = has("block");
    const mayDrop = has("drop-oldest") || has("latest-per-topic");
    if (mayDrop && overflow.compact(this.#waiting, this.#pool)) {
      const hasRoom = this.#waiting.bytes <= LATEST_BYTES_KEPT;
      if (hasRoom && this.tellGaps() === QUEUE_FULL) return SLOW_READER;
    }
    if (fits()) return ACCEPTED;
    if (!mustTake) return this.#lose(source, offset, bytes);
    // It must not be lost; word of what was lost before it has the reserve.
    return this.tellGaps() === QUEUE_FULL ? SLOW_READER : ACCEPTED;
  }

  /** The packet at the end of the queue with room for `bytes`, or a new one; undefined when full. */
  #packetFor(bytes: number): QueuedPacket | undefined {
    if (this.#waiting.bytes + bytes > SEND_QUEUE_BYTES_MAX) return undefined;
    const tail = this.#waiting.last;
    if (tail !== undefined && tail.bundle === undefined && tail.room >= bytes) return tail;
    if (tail !== undefined && this.blockedFd < 0) this.#sendQueued();
    const packet = this.#pool.acquire(!this.isEmpty);
    if (packet !== undefined) this.#waiting.push(packet);
    return packet;
  }

  #lose(source: PinnedBuffer, offset: number, bytes: number): number {
    this.#isShedding = true;
    this.#ledger.record(source.words, offset, bytes, this.#hidden);
    return QUEUE_FULL;
  }
}

/**
 * Nothing more can be sent. EMSGSIZE counts too: the socket's SO_SNDBUF does not hold one packet,
 * and never will. All other failures (EAGAIN, ENOBUFS, ENOMEM) are waited out with EPOLLOUT.
 */
function isGone(outcome: number): boolean {
  return outcome === PEER_CLOSED || outcome === RECORD_TOO_LARGE;
}
