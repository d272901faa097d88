/**
 * One connection to a peer, blocking: bytes out, bytes in, fds beside them. Knows no protocol.
 */

import { PacketReceiver, sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { EPOLLOUT } from "../../src/ffi/constants.ts";
import { Epoll } from "../../src/ffi/epoll.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { copyPinned, movePinned, PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../src/ffi/seqpacket.ts";
import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";
import { CLOSED_FD, isLookDue } from "../sample-fds.ts";
import { PendingFds } from "./pending-fds.ts";
import { endSending, NOTHING_YET, recvStream } from "./stream-socket.ts";

/** What recv(2) is given at most, where one message is not larger. */
const READ_BYTES = 256 * 1024;

/** Where fds come along, bytes behind a part of a message are received elsewhere first. */
const FD_READ_BYTES = 64 * 1024;

/** Milliseconds without a byte after which a peer is taken for dead. */
const SILENCE_MS = 10_000;

/** Reads until there are whole messages; what is left of the last one waits in front. */
export class PeerStream {
  /** Bytes from `start` to `end` are there and not looked at yet. */
  readonly buffer: PinnedBuffer;
  start = 0;
  end = 0;
  /** fds that came and were not taken yet; CLOSED_FD for most. */
  readonly fds = new PendingFds();
  readonly #fd: number;
  readonly #pauseMs: number;
  /** Receives to the front of `buffer`, where all that came before has been looked at. */
  readonly #frontReceiver: PacketReceiver | undefined;
  /** Receives elsewhere, and the bytes are copied behind those that wait. */
  readonly #restReceiver: PacketReceiver | undefined;
  readonly #writable = new Epoll(1);
  readonly #pauseWord = new Int32Array(new SharedArrayBuffer(4));

  /**
   * @param fd connected, non-blocking or not; owned
   * @param options messageBytesMax: the longest message on the wire; takesFds: whether fds may come;
   *   pauseMs: how long to rest before a read that found nothing, so that more than one message
   *   comes with a wake-up
   */
  constructor(
    fd: number,
    options: { messageBytesMax?: number; takesFds?: boolean; pauseMs?: number } = {},
  ) {
    const { messageBytesMax = 0, takesFds = false, pauseMs = 0 } = options;
    this.#fd = fd;
    this.#pauseMs = pauseMs;
    this.buffer = new PinnedBuffer(READ_BYTES + 2 * messageBytesMax);
    if (takesFds) {
      this.#frontReceiver = new PacketReceiver(this.buffer);
      this.#restReceiver = new PacketReceiver(new PinnedBuffer(FD_READ_BYTES));
    }
    this.#writable.add(fd, EPOLLOUT, 0);
  }

  /** Sends all of it; blocks while the socket is full. */
  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[] = []): void {
    let sent = 0;
    while (sent < bytes) {
      const outcome =
        fds.length > 0 && sent === 0
          ? sendPacketWithFds(this.#fd, buffer, 0, bytes, fds)
          : sendPacket(this.#fd, buffer, sent, bytes - sent);
      if (outcome > 0) sent += outcome;
      else if (outcome === WOULD_BLOCK) this.#writable.wait(-1);
      else throw new Error(`Cannot send: outcome ${outcome}`);
    }
  }

  /** Sends a few bytes, as a handshake does. */
  say(bytes: Uint8Array, fds: readonly number[] = []): void {
    const buffer = new PinnedBuffer(bytes.byteLength);
    buffer.bytes.set(bytes);
    this.send(buffer, bytes.byteLength, fds);
  }

  /** Blocks until at least one more byte is there. */
  receive(): void {
    if (this.start === this.end) {
      this.start = 0;
      this.end = 0;
    } else if (this.buffer.byteLength - this.end < this.buffer.byteLength >>> 1) {
      movePinned(this.buffer, this.start, 0, this.end - this.start);
      this.end -= this.start;
      this.start = 0;
    }
    for (;;) {
      const bytes =
        this.#frontReceiver === undefined ? this.#receiveBytes() : this.#receiveWithFds();
      if (bytes > 0) {
        this.end += bytes;
        return;
      }
      if (bytes === 0) throw new Error("The peer closed the connection");
      this.#rest();
    }
  }

  /**
   * Ends what is sent, takes all that still comes until the peer has closed as well, and closes. Where
   * something was left unread, as the PING that nats-server sends after a while, close(2) of a TCP socket
   * would throw away what the peer has not read yet.
   */
  finish(): void {
    endSending(this.#fd);
    for (;;) {
      const bytes = recvStream(this.#fd, this.buffer, 0);
      if (bytes === 0) return this.close();
      if (bytes === NOTHING_YET) this.#rest();
    }
  }

  close(): void {
    this.fds.close();
    this.#writable.close();
    closeFd(this.#fd);
  }

  #receiveBytes(): number {
    return recvStream(this.#fd, this.buffer, this.end);
  }

  #receiveWithFds(): number {
    const isAtFront = this.end === 0;
    const receiver = (isAtFront ? this.#frontReceiver : this.#restReceiver) as PacketReceiver;
    const bytes = receiver.receive(this.#fd);
    if (bytes === WOULD_BLOCK) return NOTHING_YET;
    if (receiver.receivedFdCount > 0) this.#keepFds(receiver);
    if (bytes > 0 && !isAtFront) copyPinned(receiver.buffer, 0, this.buffer, this.end, bytes);
    return Math.max(0, bytes);
  }

  #keepFds(receiver: PacketReceiver): void {
    if (isLookDue()) {
      for (const fd of receiver.takeFds()) this.fds.push(fd);
      return;
    }
    for (let left = receiver.closeFds(); left > 0; left -= 1) this.fds.push(CLOSED_FD);
  }

  #rest(): void {
    if (this.#pauseMs > 0) Atomics.wait(this.#pauseWord, 0, 0, this.#pauseMs);
    if (!waitReadable(this.#fd, SILENCE_MS)) throw new Error("The peer has gone silent");
  }
}
