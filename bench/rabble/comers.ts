/**
 * Clients that come and go: they connect, say nothing, or garbage, or half of what they should, and
 * come again when it is their turn. None of them reads what comes back but to see the end.
 */

import { randomFillSync } from "node:crypto";
import { SyscallError } from "../../src/errors.ts";
import { PacketReceiver } from "../../src/ffi/ancillary.ts";
import { EPOLLIN } from "../../src/ffi/constants.ts";
import { Epoll } from "../../src/ffi/epoll.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { connectPath, openSeqpacket, sendPacket } from "../../src/ffi/seqpacket.ts";
import { PEER_CLOSED } from "../../src/ffi/syscall-result.ts";
import { helloBody, subscribeBody } from "../../src/protocol/control-messages.ts";
import { kindWord } from "../../src/protocol/frame.ts";
import {
  FRAME_ALIGNMENT_BYTES,
  FRAME_HEADER_BYTES,
  PACKET_BYTES_MAX,
  PROTOCOL_VERSION,
} from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../src/protocol/packet.ts";
import { BENCH_PATTERN } from "../roles/topic-names.ts";

const GARBAGE_BYTES = 256;

/** What a client sends when it has connected. */
const MISDEEDS: readonly (readonly PinnedBuffer[])[] = [
  [],
  [garbage()],
  [hello()],
  [hello(), garbage()],
  [hello(), subscription()],
  [hello(), unknownTopic()],
  [packet((writer) => writer.append(OPCODE.SENDER, 0, 0, 1, 0, undefined))],
  [subscription()],
  [hello(), halfPacket()],
  [hello(), oversized()],
];

/** Clients that come and go, driven by the caller. */
export class Comers {
  /** How often they have connected. */
  attempts = 0;
  readonly #path: string;
  readonly #epoll = new Epoll();
  readonly #receiver = new PacketReceiver(new PinnedBuffer(PACKET_BYTES_MAX));
  /** The fd of each client; -1 while it has none. */
  readonly #fds: Int32Array;
  #next = 0;

  /** @param path of the broker's socket */
  constructor(path: string, clients: number) {
    this.#path = path;
    this.#fds = new Int32Array(clients).fill(-1);
  }

  /**
   * The next so many clients leave, if they are there, and come again; and those that were thrown
   * out leave.
   * @returns whether the last of all clients was among them
   */
  act(count: number): boolean {
    const first = this.#next;
    const end = Math.min(first + count, this.#fds.length);
    for (let client = first; client < end; client += 1) this.#misbehave(client);
    const events = this.#epoll.wait(0);
    for (let index = 0; index < events; index += 1) this.#look(this.#epoll.token(index));
    const isLast = end === this.#fds.length;
    this.#next = isLast ? 0 : end;
    return isLast;
  }

  #misbehave(client: number): void {
    this.#leave(client);
    const fd = openSeqpacket();
    try {
      connectPath(fd, this.#path);
      this.attempts += 1;
      this.#fds[client] = fd;
      for (const each of MISDEEDS[client % MISDEEDS.length] ?? []) {
        sendPacket(fd, each, 0, each.byteLength);
      }
      this.#epoll.add(fd, EPOLLIN, client);
    } catch (error) {
      // The backlog is full: it tries again when its turn comes.
      if (!(error instanceof SyscallError) || error.code !== "EAGAIN") throw error;
      closeFd(fd);
      this.#fds[client] = -1;
    }
  }

  /** One that was thrown out leaves, and comes again when its turn comes. */
  #look(client: number): void {
    const fd = this.#fds[client] ?? -1;
    if (fd < 0) return;
    if (this.#receiver.receive(fd) === PEER_CLOSED) this.#leave(client);
  }

  #leave(client: number): void {
    const fd = this.#fds[client] ?? -1;
    if (fd >= 0) closeFd(fd);
    this.#fds[client] = -1;
  }
}

function packet(append: (writer: PacketWriter) => void): PinnedBuffer {
  const scratch = new PacketWriter(new ArrayBuffer(PACKET_BYTES_MAX));
  append(scratch);
  const buffer = new PinnedBuffer(scratch.packetBytes);
  buffer.bytes.set(scratch.bytes.subarray(0, scratch.packetBytes));
  return buffer;
}

function hello(): PinnedBuffer {
  const body = helloBody({ protocol: PROTOCOL_VERSION, features: 0 });
  return packet((writer) => writer.appendControl(OPCODE.HELLO, 0, 0, body));
}

function subscription(): PinnedBuffer {
  const body = subscribeBody({ pattern: BENCH_PATTERN });
  return packet((writer) => writer.appendControl(OPCODE.SUBSCRIBE, 0, 1, body));
}

function unknownTopic(): PinnedBuffer {
  return packet((writer) => writer.append(OPCODE.MESSAGE, 0, 0, 12_345, 0, undefined));
}

function garbage(): PinnedBuffer {
  const buffer = new PinnedBuffer(GARBAGE_BYTES);
  randomFillSync(buffer.bytes);
  buffer.words.set([FRAME_HEADER_BYTES, kindWord(0x7f, 0, 0)]);
  return buffer;
}

/** Its frame says that it is longer than what came. */
function halfPacket(): PinnedBuffer {
  const buffer = new PinnedBuffer(GARBAGE_BYTES / 2);
  buffer.words.set([GARBAGE_BYTES, kindWord(OPCODE.MESSAGE, 0, 0)]);
  return buffer;
}

/** One record longer than any may be. */
function oversized(): PinnedBuffer {
  const buffer = new PinnedBuffer(PACKET_BYTES_MAX + FRAME_ALIGNMENT_BYTES);
  buffer.words.set([buffer.byteLength, kindWord(OPCODE.MESSAGE, 0, 0)]);
  return buffer;
}
