/**
 * A private channel: messages straight to another program, with nobody in between. Who it is the
 * broker has said; what it sends nobody has looked at, so everything is checked here, and the first
 * thing that is wrong ends the channel.
 *
 * Memory is bounded without the other side's help: while the program does not read, the socket is
 * not read either, and its sender comes to wait.
 */

import { ClosedError, LimitError, RejectedError } from "../errors.ts";
import { closeFd, type OwnedFd } from "../ffi/owned-fd.ts";
import { sealedMemoryBytes } from "../ffi/sealed-memory.ts";
import { checkChannelPacket } from "../protocol/channel-packet.ts";
import { paddedBytes } from "../protocol/frame.ts";
import { LARGE_BODY_BYTES_MAX, MESSAGE_BODY_BYTES_MAX } from "../protocol/limits.ts";
import { type Encoding, FLAG_FDS_ON_LANE } from "../protocol/opcodes.ts";
import { isLarge, largeBodyBytes } from "../protocol/packet.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { ChannelTransport } from "./channel-transport.ts";
import { ItemQueue } from "./item-queue.ts";
import {
  CHANNEL_BYTES_HIGH,
  CHANNEL_FD_BYTES,
  CHANNEL_FDS_MAX,
  CHANNEL_MESSAGES_HIGH,
  CLOSE_DRAIN_MS,
  OUTBOUND_BYTES_HIGH,
} from "./limits.ts";
import type { Message, Sender } from "./message.ts";
import { Outbound } from "./outbound.ts";
import { OutgoingBody, type SendOptions } from "./outgoing-body.ts";
import type { TransportEvents } from "./packet-socket.ts";
import { messageOf, takeBody } from "./received-body.ts";

/** Both sockets of one side. */
export interface ChannelEnds {
  readonly packets: OwnedFd;
  readonly lane: OwnedFd;
}

/** Bytes that a message counts for besides its body, so that empty ones do not come for nothing. */
const MESSAGE_OVERHEAD_BYTES = 64;

/**
 * An open channel. It does not need the bus it was opened on any more.
 * @example
 * await using channel = await bus.openChannel("files.session");
 * channel.send({ open: "notes.txt" });
 * for await (const message of channel) console.log(message.data);
 */
export class Channel<Data = unknown>
  implements AsyncIterableIterator<Message<Data>>, AsyncDisposable, TransportEvents
{
  /** The service that it was opened to. */
  readonly service: string;
  /** Who is at the other side, as the broker's kernel says. */
  readonly peer: Sender;
  readonly #outbound = new Outbound((error) => this.#finish(error));
  readonly #queue = new ItemQueue<Message<Data>>();
  readonly #closed = Promise.withResolvers<Error | undefined>();
  #transport: ChannelTransport | undefined;
  #queuedBytes = 0;
  #queuedFds = 0;
  #isPaused = false;
  #isClosed = false;
  /** Why send() is refused from the end on. */
  #reason: Error | undefined;
  /** Messages with files that the program was handed since its last next(). */
  #handedOut: Message<Data>[] = [];

  private constructor(service: string, peer: Sender) {
    this.service = service;
    this.peer = peer;
  }

  /**
   * For the bus: makes a channel of its sockets.
   * @param ends handed over
   * @throws {SyscallError} EMFILE; both are closed then
   */
  static async open(service: string, peer: Sender, ends: ChannelEnds): Promise<Channel> {
    const channel = new Channel(service, peer);
    channel.#attach(await ChannelTransport.open(ends.packets, ends.lane, channel));
    return channel;
  }

  /**
   * Sends a message. It leaves at the end of the tick, together with others.
   * @param data as for Bus.publish(): up to 64 MiB
   * @returns false where much waits to be sent: a good moment to `await channel.drained()`
   * @throws {ArgumentError} ARGUMENT_DATA, ARGUMENT_FD
   * @throws {LimitError} LIMIT_MESSAGE_BYTES, LIMIT_MESSAGE_FDS, LIMIT_OUTBOUND, LIMIT_QUEUED_FDS
   * @throws {SyscallError} EMFILE, ENOMEM
   * @throws {ClosedError} CLOSED_BY_PEER, CLOSED_BY_USER after the end; what ended it otherwise
   */
  send(data: unknown, options?: SendOptions): boolean {
    if (this.#isClosed) throw this.#reason ?? this.#closedError();
    const action = { verb: "send to", name: this.service };
    using body = OutgoingBody.of(data, options, MESSAGE_BODY_BYTES_MAX, action);
    const { flags, bytes, fds, memoryBytes } = body;
    if (fds.length === 0) this.#outbound.message(0, flags as Encoding, bytes);
    else {
      const message = { flags: flags | FLAG_FDS_ON_LANE, body: bytes, fds, memoryBytes };
      this.#outbound.messageWithFds(0, message);
    }
    return this.#outbound.waitingBytes < OUTBOUND_BYTES_HIGH;
  }

  /** Resolves when the socket has taken all that was sent, or at the end. */
  drained(): Promise<void> {
    return this.#outbound.drained();
  }

  /** The next message. Files of the one before that nobody took are closed. */
  next(): Promise<IteratorResult<Message<Data>>> {
    this.#letGoOfHandedOut();
    const message = this.#queue.shift();
    if (message === undefined) return this.#queue.wait();
    this.#queuedBytes -= sizeOf(message);
    this.#queuedFds -= message.fds.length;
    this.#resumeIfRead();
    this.#handOut(message);
    return Promise.resolve({ done: false, value: message });
  }

  /** Leaving a `for await` loop closes the channel. */
  async return(): Promise<IteratorResult<Message<Data>>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * Resolves at the end: undefined where one of both sides closed it, else with what was wrong. While
   * more waits to be read than may, the end is not seen before it is read.
   */
  closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /** Sends what waits, for at most a second, and closes. Messages that were not read are let go. */
  async close(): Promise<void> {
    if (!this.#isClosed) await this.#drainBriefly();
    this.#reason ??= this.#closedError();
    this.#finish(undefined);
    this.#letGoOfHandedOut();
    for (const message of this.#queue.drain()) message[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** TransportEvents */
  onPacket(packet: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      this.#take(packet);
    } catch (error) {
      this.#finish(error as Error);
    }
  }

  /** TransportEvents */
  onWritable(): void {
    this.#outbound.onWritable();
  }

  /** TransportEvents */
  onClose(_error: Error | undefined): void {
    const message = `The other side closed the channel to "${this.service}"`;
    this.#reason ??= new ClosedError("CLOSED_BY_PEER", message);
    this.#finish(undefined);
  }

  #attach(transport: ChannelTransport): void {
    this.#transport = transport;
    if (this.#isClosed) transport.close();
    else this.#outbound.attach(transport);
  }

  #take(packet: Uint8Array): void {
    const words = wordsOf(packet);
    const end = packet.byteLength;
    checkChannelPacket(words, end);
    for (let at = 0; at < end && !this.#isClosed; ) {
      const body = takeBody(packet, words, at, (count) => this.#takeFds(words, at, count));
      this.#accept(messageOf(this.service, this.peer, body) as Message<Data>);
      at += paddedBytes(words[at >>> 2] as number);
    }
  }

  /** The fds of the frame at `at`; those of a large body only where it can be mapped without risk. */
  #takeFds(words: Uint32Array, at: number, count: number): number[] {
    const fds = this.#transport?.takeLaneFds(count) ?? [];
    try {
      if (isLarge(words[(at >>> 2) + 1] as number)) checkMemory(fds, largeBodyBytes(words, at));
      return fds;
    } catch (error) {
      for (const fd of fds) closeFd(fd);
      throw error;
    }
  }

  #accept(message: Message<Data>): void {
    if (this.#queue.push(message)) return this.#handOut(message);
    this.#queuedBytes += sizeOf(message);
    this.#queuedFds += message.fds.length;
    if (this.#queuedFds > CHANNEL_FDS_MAX) throw tooManyFds(this.service, this.#queuedFds);
    if (this.#isPaused) return;
    const isFull = this.#queue.length >= CHANNEL_MESSAGES_HIGH;
    if (!isFull && this.#queuedBytes < CHANNEL_BYTES_HIGH) return;
    this.#isPaused = true;
    this.#transport?.pause();
  }

  #resumeIfRead(): void {
    if (!this.#isPaused || this.#isClosed) return;
    if (this.#queue.length > CHANNEL_MESSAGES_HIGH / 2) return;
    if (this.#queuedBytes > CHANNEL_BYTES_HIGH / 2) return;
    this.#isPaused = false;
    this.#transport?.resume();
  }

  #handOut(message: Message<Data>): void {
    if (message.fds.length > 0) this.#handedOut.push(message);
  }

  #letGoOfHandedOut(): void {
    if (this.#handedOut.length === 0) return;
    for (const message of this.#handedOut.splice(0)) message.fds.close();
  }

  async #drainBriefly(): Promise<void> {
    let timer: Timer | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_DRAIN_MS);
    });
    await Promise.race([this.#outbound.drained(), timeout]);
    clearTimeout(timer);
  }

  #closedError(): Error {
    const message = `The channel to "${this.service}" is closed`;
    return new ClosedError("CLOSED_BY_USER", message);
  }

  /** The one end of a channel. @param error undefined where one of both sides wished it */
  #finish(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reason ??= error;
    this.#transport?.close();
    this.#outbound.clear();
    this.#queue.end(error);
    this.#closed.resolve(error);
  }
}

/** One packet may hold more files than pausing prevents. */
function tooManyFds(service: string, actual: number): LimitError {
  const message = `Cannot take files of the channel to "${service}": too many wait to be read`;
  return new LimitError("LIMIT_QUEUED_FDS", message, { limit: CHANNEL_FDS_MAX, actual });
}

/** A sender could change memory under its reader, or kill the reader, if it were not sealed. */
function checkMemory(fds: readonly number[], byteLength: number): void {
  const [memory] = fds;
  if (byteLength > LARGE_BODY_BYTES_MAX) {
    const message = `Cannot take large message of a channel: it claims ${byteLength} bytes`;
    const fields = { limit: LARGE_BODY_BYTES_MAX, actual: byteLength };
    throw new LimitError("LIMIT_MESSAGE_BYTES", message, fields);
  }
  if (memory !== undefined && sealedMemoryBytes(memory) === byteLength) return;
  const message =
    "Cannot take large message of a channel: its body is not sealed memory of its size";
  throw new RejectedError("REJECTED_LARGE_BODY", message, { status: STATUS.REJECTED_LARGE_BODY });
}

function sizeOf(message: Message): number {
  const fdBytes = message.fds.length * CHANNEL_FD_BYTES;
  return MESSAGE_OVERHEAD_BYTES + message.byteLength + fdBytes;
}

/** The packet as words, copied where Bun handed out a misaligned view; an odd rest is refused later. */
function wordsOf(packet: Uint8Array): Uint32Array {
  const words = packet.byteLength >>> 2;
  if (packet.byteOffset % 4 === 0) return new Uint32Array(packet.buffer, packet.byteOffset, words);
  return new Uint32Array(packet.slice(0, words * 4).buffer);
}
