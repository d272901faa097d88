/**
 * What a bus is still to send. Frames gather in one packet, which leaves at the end of the tick or
 * when it is full; when the socket is full, packets wait here in order, up to OUTBOUND_BYTES_MAX.
 * What a lost connection did not take comes back as messages, for the next one.
 */

import { LimitError, RejectedError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { FDS_REFUSED, FDS_UNWANTED, PEER_CLOSED, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import { kindWord, paddedBytes, writeFrameHeader } from "../protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES, PACKET_BYTES_MAX } from "../protocol/limits.ts";
import { type Encoding, OPCODE } from "../protocol/opcodes.ts";
import { PacketWriter } from "../protocol/packet.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import { fdShortage } from "./fd-shortage.ts";
import { OUTBOUND_BYTES_HIGH, OUTBOUND_BYTES_MAX, SPARE_BUFFERS_KEPT } from "./limits.ts";
import type { Transport } from "./transport.ts";
import {
  countMessages,
  isPublished,
  type UnsentMessage,
  unpackMessages,
} from "./unsent-messages.ts";

interface WaitingPacket {
  readonly buffer: PinnedBuffer;
  readonly bytes: number;
  /** What it counts as: a large body is memory that waits, too. */
  readonly heldBytes: number;
  /** Owned duplicates, closed once sent. */
  readonly fds: readonly OwnedFd[];
  /** As in MessageWithFds. */
  readonly onRefused?: ((error: SendRefusal) => void) | undefined;
}

/** Why the kernel did not take the fds of a message. */
export type SendRefusal = LimitError | RejectedError;

/** A message that is a packet of its own. */
export interface MessageWithFds {
  /** Default MESSAGE. */
  readonly opcode?: number;
  /** Encoding, and FLAG_LARGE. */
  readonly flags: number;
  /** Copied; at most MESSAGE_BODY_BYTES_MAX bytes. */
  readonly body: Uint8Array;
  /** Borrowed; duplicated where they must wait. 1 or more. */
  readonly fds: readonly number[];
  /** Bytes of the large body behind the first of them; 0 for none. */
  readonly memoryBytes: number;
  /** Told where the kernel refuses the fds after the message had waited. Default: for all the same. */
  readonly onRefused?: ((error: SendRefusal) => void) | undefined;
}

const NO_FDS: readonly number[] = [];

/** Frames on their way to the broker. */
export class Outbound {
  readonly #spare: PinnedBuffer[] = [];
  readonly #control = new PacketWriter();
  #transport: Pick<Transport, "send"> | undefined;
  #open = new PinnedBuffer(PACKET_BYTES_MAX);
  #openBytes = 0;
  #waiting: WaitingPacket[] = [];
  #waitingBytes = 0;
  #isBlocked = false;
  #isScheduled = false;
  #onDrained: (() => void)[] = [];
  #onRoom: (() => void) | undefined;
  #messageCount = 0;
  readonly #onRefused: (error: SendRefusal) => void;

  /** @param onRefused told of a message whose fds the kernel refused after it had waited */
  constructor(onRefused: (error: SendRefusal) => void) {
    this.#onRefused = onRefused;
  }

  /** Frames written before this wait for it. */
  attach(transport: Pick<Transport, "send">): void {
    this.#transport = transport;
    this.onWritable();
  }

  /**
   * There is no transport any more.
   * @returns all messages that the last one did not take, in order; their fds are the caller's.
   *   Control frames are gone: they belong to the lost connection
   */
  detach(): UnsentMessage[] {
    const unsent = this.#waiting.flatMap(({ buffer, bytes, heldBytes, fds }) =>
      unpackMessages(buffer, bytes, { fds, memoryBytes: heldBytes - bytes }),
    );
    unsent.push(...unpackMessages(this.#open, this.#openBytes));
    this.#transport = undefined;
    this.#isBlocked = false;
    this.#messageCount = 0;
    this.#empty();
    return unsent;
  }

  /** Calls back each time that so much has left that there is room for another burst. */
  whenRoom(callback: () => void): void {
    this.#onRoom = callback;
  }

  /** Whether little enough waits for another burst. */
  get hasRoom(): boolean {
    return this.#waitingBytes < OUTBOUND_BYTES_HIGH;
  }

  /** Messages that were written since there is this transport, sent or not. */
  get messageCount(): number {
    return this.#messageCount;
  }

  /** Bytes that wait because the broker reads more slowly than the program writes. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /**
   * Appends a message without fds.
   * @param body copied; at most MESSAGE_BODY_BYTES_MAX bytes
   * @throws {LimitError} LIMIT_OUTBOUND
   */
  message(topicId: number, encoding: Encoding, body: Uint8Array): void {
    const frameBytes = FRAME_HEADER_BYTES + body.byteLength;
    const padded = paddedBytes(frameBytes);
    if (this.#openBytes + padded > PACKET_BYTES_MAX) this.#seal();
    if (this.#waitingBytes > OUTBOUND_BYTES_MAX) throw outboundError(this.#waitingBytes);
    const at = this.#openBytes;
    const word = at >>> 2;
    const { words, bytes } = this.#open;
    words[(at + padded - 4) >>> 2] = 0;
    words[(at + padded - 8) >>> 2] = 0;
    words[word] = frameBytes;
    words[word + 1] = OPCODE.MESSAGE | (encoding << 8);
    words[word + 2] = topicId;
    words[word + 3] = 0;
    bytes.set(body, at + FRAME_HEADER_BYTES);
    this.#openBytes = at + padded;
    this.#messageCount += 1;
    if (!this.#isScheduled) this.#schedule();
  }

  /**
   * Appends a message without fds that the broker is to keep.
   * @param flags encoding
   * @param body copied, with its prefix; at most MESSAGE_BODY_BYTES_MAX bytes
   * @throws {LimitError} LIMIT_OUTBOUND
   */
  retain(topicId: number, flags: number, body: Uint8Array): void {
    this.#append(OPCODE.RETAIN | (flags << 8), topicId, 0, body);
    this.#messageCount += 1;
  }

  /**
   * Appends a request without fds.
   * @param flags encoding, and FLAG_STREAM
   * @param timeoutMs u32; 0 for ever
   * @param body copied; at most PREFIXED_BODY_BYTES_MAX bytes
   * @throws {LimitError} LIMIT_OUTBOUND
   */
  request(
    serviceId: number,
    call: number,
    flags: number,
    timeoutMs: number,
    body: Uint8Array,
  ): void {
    const at = this.#append(OPCODE.REQUEST | (flags << 8), serviceId, BODY_PREFIX_BYTES, body);
    const prefix = (at + FRAME_HEADER_BYTES) >>> 2;
    this.#open.words[prefix] = call;
    this.#open.words[prefix + 1] = timeoutMs;
  }

  /**
   * Appends a reply without fds.
   * @param flags encoding, FLAG_MORE, FLAG_FAILED
   * @param body copied; at most MESSAGE_BODY_BYTES_MAX bytes
   * @throws {LimitError} LIMIT_OUTBOUND
   */
  reply(call: number, flags: number, body: Uint8Array): void {
    this.#append(OPCODE.REPLY | (flags << 8), call, 0, body);
  }

  /** Appends a reply that says what went wrong. It is never refused for want of room. */
  failure(call: number, flags: number, body: Uint8Array): void {
    this.#put(OPCODE.REPLY | (flags << 8), call, 0, body);
  }

  /**
   * Sends a message with fds, which is a packet of its own, after all that was written before.
   * @throws {LimitError} LIMIT_OUTBOUND; LIMIT_QUEUED_FDS where the kernel takes no more fds
   * @throws {RejectedError} REJECTED_BY_POLICY where the broker takes none from this client
   */
  messageWithFds(id: number, message: MessageWithFds): void {
    const { opcode = OPCODE.MESSAGE, flags, body, fds, memoryBytes, onRefused } = message;
    this.flush();
    if (this.#waitingBytes > OUTBOUND_BYTES_MAX) throw outboundError(this.#waitingBytes);
    const frameBytes = FRAME_HEADER_BYTES + body.byteLength;
    const packet = new PinnedBuffer(paddedBytes(frameBytes));
    packet.words[0] = frameBytes;
    packet.words[1] = kindWord(opcode, flags, fds.length);
    packet.words[2] = id;
    packet.bytes.set(body, FRAME_HEADER_BYTES);
    if (!this.#isBlocked && this.#transport !== undefined) {
      const sent = this.#transport.send(packet, packet.byteLength, fds);
      const refusal = refusalOf(sent, fds.length);
      if (refusal !== undefined) throw refusal;
      this.#isBlocked = isUnsent(sent);
    }
    const isSent = !this.#isBlocked && this.#transport !== undefined;
    const bytes = packet.byteLength;
    const heldBytes = bytes + memoryBytes;
    if (!isSent) {
      this.#wait({ buffer: packet, bytes, heldBytes, fds: duplicateAll(fds), onRefused });
    }
    if (isPublished(opcode)) this.#messageCount += 1;
  }

  /** Appends a control frame. It is never refused for want of room: answers depend on it. */
  control(frame: { opcode: number; id: number; flags?: number; body?: ControlMap }): void {
    this.#control.reset();
    this.#control.appendControl(frame.opcode, frame.flags ?? 0, frame.id, frame.body);
    const bytes = this.#control.packetBytes;
    if (this.#openBytes + bytes > PACKET_BYTES_MAX) this.#seal();
    this.#open.bytes.set(this.#control.bytes.subarray(0, bytes), this.#openBytes);
    this.#openBytes += bytes;
    if (!this.#isScheduled) this.#schedule();
  }

  /** Sends what has gathered, or lets it wait its turn. */
  flush(): void {
    if (this.#openBytes > 0) this.#seal();
  }

  /** The transport takes packets again. */
  onWritable(): void {
    this.#isBlocked = false;
    let sent = 0;
    for (const packet of this.#waiting) {
      if (!this.#sendWaiting(packet)) break;
      sent += 1;
    }
    this.#waiting.splice(0, sent);
    this.flush();
    this.#noteDrained();
    if (!this.#isBlocked && this.hasRoom) this.#onRoom?.();
  }

  /** Resolves when nothing waits any more. */
  drained(): Promise<void> {
    this.flush();
    if (this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  /** Lets go of all that was not sent. @returns how many messages that were */
  clear(): number {
    let count = countMessages(this.#open, this.#openBytes);
    for (const { buffer, bytes, fds } of this.#waiting) {
      count += countMessages(buffer, bytes);
      for (const fd of fds) fd.close();
    }
    this.#empty();
    return count;
  }

  #empty(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#openBytes = 0;
    this.#noteDrained();
  }

  /** As #put(). @throws {LimitError} LIMIT_OUTBOUND */
  #append(kind: number, id: number, prefixBytes: number, body: Uint8Array): number {
    if (this.#waitingBytes > OUTBOUND_BYTES_MAX) throw outboundError(this.#waitingBytes);
    return this.#put(kind, id, prefixBytes, body);
  }

  /** @returns where the frame begins in the open packet; its prefix is not written yet */
  #put(kind: number, id: number, prefixBytes: number, body: Uint8Array): number {
    const frameBytes = FRAME_HEADER_BYTES + prefixBytes + body.byteLength;
    const padded = paddedBytes(frameBytes);
    if (this.#openBytes + padded > PACKET_BYTES_MAX) this.#seal();
    const at = this.#openBytes;
    const { words, bytes } = this.#open;
    words[(at + padded - 4) >>> 2] = 0;
    words[(at + padded - 8) >>> 2] = 0;
    writeFrameHeader(words, at >>> 2, frameBytes, kind, id, 0);
    bytes.set(body, at + FRAME_HEADER_BYTES + prefixBytes);
    this.#openBytes = at + padded;
    if (!this.#isScheduled) this.#schedule();
    return at;
  }

  #schedule(): void {
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  /** Closes the open packet: sends it, or queues it behind those that wait. */
  #seal(): void {
    const bytes = this.#openBytes;
    if (!this.#isBlocked && this.#transport !== undefined) {
      this.#isBlocked = isUnsent(this.#transport.send(this.#open, bytes, NO_FDS));
    }
    this.#openBytes = 0;
    if (!this.#isBlocked && this.#transport !== undefined) return;
    const buffer = this.#open;
    this.#open = this.#spare.pop() ?? new PinnedBuffer(PACKET_BYTES_MAX);
    this.#wait({ buffer, bytes, heldBytes: bytes, fds: [] });
  }

  #wait(packet: WaitingPacket): void {
    this.#waiting.push(packet);
    this.#waitingBytes += packet.heldBytes;
  }

  /** @returns false where the socket is full again */
  #sendWaiting(packet: WaitingPacket): boolean {
    const fds = packet.fds.map((fd) => fd.number);
    const sent = this.#transport?.send(packet.buffer, packet.bytes, fds) ?? PEER_CLOSED;
    this.#isBlocked = isUnsent(sent);
    if (this.#isBlocked) return false;
    const refusal = refusalOf(sent, fds.length);
    if (refusal !== undefined) (packet.onRefused ?? this.#onRefused)(refusal);
    for (const fd of packet.fds) fd.close();
    this.#waitingBytes -= packet.heldBytes;
    const isSpare = packet.buffer.byteLength === PACKET_BYTES_MAX;
    if (isSpare && this.#spare.length < SPARE_BUFFERS_KEPT) this.#spare.push(packet.buffer);
    return true;
  }

  #noteDrained(): void {
    if (this.#waiting.length > 0) return;
    for (const resolve of this.#onDrained.splice(0)) resolve();
  }
}

/** Where the broker has gone, the transport ends soon, and all that waits comes back by detach(). */
function isUnsent(outcome: number): boolean {
  return outcome === WOULD_BLOCK || outcome === PEER_CLOSED;
}

function outboundError(waitingBytes: number): LimitError {
  return new LimitError(
    "LIMIT_OUTBOUND",
    `Cannot send: ${waitingBytes} bytes wait for the other side, limit is ${OUTBOUND_BYTES_MAX}; ` +
      "await bus.flush(), or drained() of a channel, from time to time",
    { limit: OUTBOUND_BYTES_MAX, actual: waitingBytes },
  );
}

/** The error for fds that the kernel did not take; undefined for any other outcome. */
function refusalOf(outcome: number, count: number): SendRefusal | undefined {
  const cannot = "Cannot send file descriptors";
  if (outcome === FDS_REFUSED) {
    const message = `${cannot}: the kernel takes no more of them from this user now`;
    return fdShortage(message, count);
  }
  if (outcome !== FDS_UNWANTED) return undefined;
  const message = `${cannot}: this client may send nothing, so the broker takes none from it`;
  const fields = { status: STATUS.REJECTED_BY_POLICY };
  return new RejectedError("REJECTED_BY_POLICY", message, fields);
}
