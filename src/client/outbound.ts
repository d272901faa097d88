/**
 * What a bus is still to send. Frames gather in one packet, which leaves at the end of the tick or
 * when it is full; when the socket is full, packets wait here in order, up to OUTBOUND_BYTES_MAX.
 */

import { LimitError, RejectedError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { FDS_REFUSED, FDS_UNWANTED, PEER_CLOSED, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import { kindWord, paddedBytes, writeFrameHeader } from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES, PACKET_BYTES_MAX } from "../protocol/limits.ts";
import { type Encoding, OPCODE } from "../protocol/opcodes.ts";
import { PacketWriter } from "../protocol/packet.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import { OUTBOUND_BYTES_MAX, SPARE_BUFFERS_KEPT } from "./limits.ts";
import type { Transport } from "./transport.ts";

interface WaitingPacket {
  readonly buffer: PinnedBuffer;
  readonly bytes: number;
  /** What it counts as: a large body is memory that waits, too. */
  readonly heldBytes: number;
  /** Owned duplicates, closed once sent. */
  readonly fds: readonly OwnedFd[];
}

/** A message that is a packet of its own. */
export interface MessageWithFds {
  /** Default MESSAGE. */
  readonly opcode?: number;
  /** Encoding, and FLAG_LARGE. */
  readonly flags: number;
  /** Copied, with the prefix of the opcode if it has one; at most MESSAGE_BODY_BYTES_MAX bytes. */
  readonly body: Uint8Array;
  /** Borrowed; duplicated where they must wait. 1 or more. */
  readonly fds: readonly number[];
  /** Bytes of the large body behind the first of them; 0 for none. */
  readonly memoryBytes: number;
}

const NO_FDS: readonly number[] = [];

/** Frames on their way to the broker. */
export class Outbound {
  readonly #spare: PinnedBuffer[] = [];
  readonly #control = new PacketWriter();
  #transport: Transport | undefined;
  #open = new PinnedBuffer(PACKET_BYTES_MAX);
  #openBytes = 0;
  #waiting: WaitingPacket[] = [];
  #waitingBytes = 0;
  #isBlocked = false;
  #isScheduled = false;
  #onDrained: (() => void)[] = [];
  readonly #onRefused: (error: LimitError | RejectedError) => void;

  /** @param onRefused told of a message whose fds the kernel refused after it had waited */
  constructor(onRefused: (error: LimitError | RejectedError) => void) {
    this.#onRefused = onRefused;
  }

  /** Frames written before this wait for it. */
  attach(transport: Transport): void {
    this.#transport = transport;
    this.onWritable();
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
    if (!this.#isScheduled) this.#schedule();
  }

  /**
   * Appends a message without fds that the broker is to keep.
   * @param flags encoding
   * @param body copied, with its prefix; at most MESSAGE_BODY_BYTES_MAX bytes
   * @throws {LimitError} LIMIT_OUTBOUND
   */
  retain(topicId: number, flags: number, body: Uint8Array): void {
    if (this.#waitingBytes > OUTBOUND_BYTES_MAX) throw outboundError(this.#waitingBytes);
    const frameBytes = FRAME_HEADER_BYTES + body.byteLength;
    const padded = paddedBytes(frameBytes);
    if (this.#openBytes + padded > PACKET_BYTES_MAX) this.#seal();
    const at = this.#openBytes;
    const { words, bytes } = this.#open;
    words[(at + padded - 4) >>> 2] = 0;
    words[(at + padded - 8) >>> 2] = 0;
    writeFrameHeader(words, at >>> 2, frameBytes, kindWord(OPCODE.RETAIN, flags, 0), topicId, 0);
    bytes.set(body, at + FRAME_HEADER_BYTES);
    this.#openBytes = at + padded;
    if (!this.#isScheduled) this.#schedule();
  }

  /**
   * Sends a message with fds, which is a packet of its own, after all that was written before.
   * @throws {LimitError} LIMIT_OUTBOUND; LIMIT_QUEUED_FDS where the kernel takes no more fds
   * @throws {RejectedError} REJECTED_BY_POLICY where the broker takes none from this client
   */
  messageWithFds(topicId: number, message: MessageWithFds): void {
    const { opcode = OPCODE.MESSAGE, flags, body, fds, memoryBytes } = message;
    this.flush();
    if (this.#waitingBytes > OUTBOUND_BYTES_MAX) throw outboundError(this.#waitingBytes);
    const frameBytes = FRAME_HEADER_BYTES + body.byteLength;
    const packet = new PinnedBuffer(paddedBytes(frameBytes));
    packet.words[0] = frameBytes;
    packet.words[1] = kindWord(opcode, flags, fds.length);
    packet.words[2] = topicId;
    packet.bytes.set(body, FRAME_HEADER_BYTES);
    if (!this.#isBlocked && this.#transport !== undefined) {
      const sent = this.#transport.send(packet, packet.byteLength, fds);
      const refusal = refusalOf(sent);
      if (refusal !== undefined) throw refusal;
      if (sent !== WOULD_BLOCK) return;
      this.#isBlocked = true;
    }
    const bytes = packet.byteLength;
    const heldBytes = bytes + memoryBytes;
    this.#wait({ buffer: packet, bytes, heldBytes, fds: duplicateAll(fds) });
  }

  /** Appends a control frame. It is never refused for want of room: answers depend on it. */
  control(frame: { opcode: number; id: number; body?: ControlMap }): void {
    this.#control.reset();
    this.#control.appendControl(frame.opcode, 0, frame.id, frame.body);
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
  }

  /** Resolves when nothing waits any more. */
  drained(): Promise<void> {
    this.flush();
    if (this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  /** Lets go of all that was not sent. */
  clear(): void {
    for (const packet of this.#waiting) for (const fd of packet.fds) fd.close();
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#openBytes = 0;
    this.#noteDrained();
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
      const sent = this.#transport.send(this.#open, bytes, NO_FDS);
      this.#isBlocked = sent === WOULD_BLOCK;
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
    this.#isBlocked = sent === WOULD_BLOCK;
    if (this.#isBlocked) return false;
    const refusal = refusalOf(sent);
    if (refusal !== undefined) this.#onRefused(refusal);
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

function outboundError(waitingBytes: number): LimitError {
  return new LimitError(
    "LIMIT_OUTBOUND",
    `Cannot publish: ${waitingBytes} bytes wait for the broker, limit is ${OUTBOUND_BYTES_MAX}; ` +
      "await bus.flush() from time to time",
    { limit: OUTBOUND_BYTES_MAX, actual: waitingBytes },
  );
}

/** The error for fds that the kernel did not take; undefined for any other outcome. */
function refusalOf(outcome: number): LimitError | RejectedError | undefined {
  const cannot = "Cannot publish file descriptors";
  if (outcome === FDS_REFUSED) {
    const message = `${cannot}: the kernel takes no more of them from this user now`;
    return new LimitError("LIMIT_QUEUED_FDS", message);
  }
  if (outcome !== FDS_UNWANTED) return undefined;
  const message = `${cannot}: this client may publish nothing, so the broker takes none from it`;
  const fields = { status: STATUS.REJECTED_BY_POLICY };
  return new RejectedError("REJECTED_BY_POLICY", message, fields);
}
