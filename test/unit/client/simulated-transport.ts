/** A transport without a socket: takes so many packets and then blocks until told otherwise. */

import type { Transport } from "../../../src/client/transport.ts";
import { F_GETFD } from "../../../src/ffi/constants.ts";
import { libc } from "../../../src/ffi/libc.ts";
import type { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { FDS_REFUSED, PEER_CLOSED, WOULD_BLOCK } from "../../../src/ffi/syscall-result.ts";
import { fdCountOf, flagsOf, opcodeOf } from "../../../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../../../src/protocol/limits.ts";
import { PacketReader } from "../../../src/protocol/packet.ts";

/** One packet that was sent. */
export interface SentPacket {
  readonly bytes: Uint8Array;
  /** As they were given: whoever called may have closed them since. */
  readonly fds: readonly number[];
}

/** One frame of such a packet. */
export interface SentFrame {
  readonly opcode: number;
  readonly flags: number;
  readonly fdCount: number;
  readonly id: number;
  readonly body: Uint8Array;
}

/** See the head of this file. */
export class SimulatedTransport implements Transport {
  readonly packets: SentPacket[] = [];
  /** Packets that it still takes. */
  room = Number.POSITIVE_INFINITY;
  refusesFds = false;
  /** What a send with fds comes to while refusesFds is set. */
  refusal = FDS_REFUSED;
  isClosed = false;
  /** Nothing is read from it. */
  isPaused = false;
  /** The other side has hung up. */
  isGone = false;
  readonly #reader = new PacketReader();

  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[]): number {
    if (this.isGone) return PEER_CLOSED;
    if (this.room === 0) return WOULD_BLOCK;
    if (fds.length > 0 && this.refusesFds) return this.refusal;
    for (const fd of fds) if (!isOpenFd(fd)) throw new Error(`fd ${fd} was closed before`);
    this.room -= 1;
    this.packets.push({ bytes: buffer.bytes.slice(0, bytes), fds: [...fds] });
    return bytes;
  }

  takeLaneFds(): number[] {
    throw new Error("This transport only sends");
  }

  setPaused(isPaused: boolean): void {
    this.isPaused = isPaused;
  }

  close(): void {
    this.isClosed = true;
  }

  /** All frames that were sent so far, which must be well-formed. */
  frames(): SentFrame[] {
    return this.packets.flatMap(({ bytes, fds }) => {
      const copy = bytes.slice();
      const words = new Uint32Array(copy.buffer);
      const count = this.#reader.read(words, copy, copy.byteLength, fds.length, "client");
      return Array.from(this.#reader.offsets.subarray(0, count), (offset) => {
        const word = offset >>> 2;
        const kind = words[word + 1] ?? 0;
        return {
          opcode: opcodeOf(kind),
          flags: flagsOf(kind),
          fdCount: fdCountOf(kind),
          id: words[word + 2] ?? 0,
          body: copy.slice(offset + FRAME_HEADER_BYTES, offset + (words[word] ?? 0)),
        };
      });
    });
  }

  /** First byte of each frame's body. */
  numbers(): (number | undefined)[] {
    return this.frames().map(({ body }) => body[0]);
  }
}

/** Whether this number is an open fd of this process. */
export function isOpenFd(fd: number): boolean {
  return libc.fcntl(fd, F_GETFD, 0) >= 0;
}
