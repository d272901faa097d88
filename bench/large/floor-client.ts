/** A blocking client of the floor relay: sends and receives records of 8 bytes, with an fd or none. */

import { PacketReceiver, sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { connectPath, openSeqpacket, sendPacket } from "../../src/ffi/seqpacket.ts";
import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";

/** Bytes of each record. */
export const FLOOR_RECORD_BYTES = 8;

/** The first record of a client that receives; one that sends says 0. */
export const FLOOR_RECEIVES = 1;

/** A connected client. */
export class FloorClient {
  readonly #fd = openSeqpacket();
  readonly #buffer = new PinnedBuffer(FLOOR_RECORD_BYTES);
  readonly #receiver = new PacketReceiver(this.#buffer);

  /** Connects, and waits until the relay knows what for. */
  constructor(path: string, receives: boolean) {
    connectPath(this.#fd, path);
    this.send(receives ? FLOOR_RECEIVES : 0, []);
    this.receive();
  }

  /** Sends one record; the window keeps the socket from being full. @param fds borrowed */
  send(word: number, fds: readonly number[]): void {
    this.#buffer.words[0] = word;
    const sent =
      fds.length === 0
        ? sendPacket(this.#fd, this.#buffer, 0, FLOOR_RECORD_BYTES)
        : sendPacketWithFds(this.#fd, this.#buffer, 0, FLOOR_RECORD_BYTES, fds);
    if (sent !== FLOOR_RECORD_BYTES) throw new Error(`Cannot send: outcome ${sent}`);
  }

  /** Blocks until a record has come. @returns its word, and its fds, which are the caller's */
  receive(): { word: number; fds: number[] } {
    for (;;) {
      const bytes = this.#receiver.receive(this.#fd);
      if (bytes > 0) return { word: this.#buffer.words[0] ?? 0, fds: this.#receiver.takeFds() };
      if (bytes !== WOULD_BLOCK) throw new Error(`Cannot receive: outcome ${bytes}`);
      waitReadable(this.#fd, -1);
    }
  }
}
