/**
 * The floor: a relay that forwards whole packets and does nothing else, on the same FFI layer as
 * the broker. No protocol, no policy, no queue, no identity: what a broker in TypeScript could do
 * at best. Only a yardstick.
 */

import { BYTES_PER_TURN, PACKETS_PER_TURN } from "../src/broker/reading/limits.ts";
import { PacketReceiver, sendPacketWithFds } from "../src/ffi/ancillary.ts";
import { EPOLLIN, EPOLLOUT } from "../src/ffi/constants.ts";
import { Epoll } from "../src/ffi/epoll.ts";
import { closeFd } from "../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import {
  acceptConnection,
  bindPath,
  listen,
  openSeqpacket,
  sendPacket,
} from "../src/ffi/seqpacket.ts";
import { setSendBufferBytes } from "../src/ffi/socket-options.ts";
import { WOULD_BLOCK } from "../src/ffi/syscall-result.ts";
import { PACKET_BYTES_MAX } from "../src/protocol/limits.ts";
import { FLOOR_ROLE, FLOOR_ROLE_BYTES } from "./raw-session.ts";
import { readWorkOrder, report } from "./work-order.ts";

/** As the broker's own sockets. */
const SEND_BUFFER_BYTES = 1024 * 1024;

const BACKLOG = 64;

const NO_FDS: readonly number[] = [];

class FloorRelay {
  readonly #epoll = new Epoll();
  readonly #buffer = new PinnedBuffer(PACKET_BYTES_MAX);
  readonly #receiver = new PacketReceiver(this.#buffer);
  readonly #listenFd = openSeqpacket();
  readonly #receivers: number[] = [];
  readonly #greeted = new Set<number>();

  constructor(path: string) {
    bindPath(this.#listenFd, path);
    listen(this.#listenFd, BACKLOG);
    this.#epoll.add(this.#listenFd, EPOLLIN, this.#listenFd);
  }

  /** Relays for ever; the harness ends the process. */
  run(): never {
    for (;;) {
      const count = this.#epoll.wait(-1);
      for (let index = 0; index < count; index += 1) {
        const fd = this.#epoll.token(index);
        if (fd === this.#listenFd) this.#accept();
        else if (this.#greeted.has(fd)) this.#relay(fd);
        else this.#greet(fd);
      }
    }
  }

  #accept(): void {
    const fd = acceptConnection(this.#listenFd);
    if (fd < 0) return;
    setSendBufferBytes(fd, SEND_BUFFER_BYTES);
    this.#epoll.add(fd, EPOLLIN, fd);
  }

  #greet(fd: number): void {
    if (this.#receiver.receive(fd) !== FLOOR_ROLE_BYTES) return this.#leave(fd);
    this.#greeted.add(fd);
    const role = this.#buffer.words[0] as number;
    if ((role & FLOOR_ROLE.RECEIVES) !== 0) this.#receivers.push(fd);
    sendPacket(fd, this.#buffer, 0, FLOOR_ROLE_BYTES);
  }

  #relay(from: number): void {
    // As many packets and bytes a turn as the broker reads, so that both are alike.
    let turnBytes = 0;
    for (let packets = 0; packets < PACKETS_PER_TURN && turnBytes < BYTES_PER_TURN; packets += 1) {
      const bytes = this.#receiver.receive(from);
      if (bytes === WOULD_BLOCK) return;
      if (bytes < 0) return this.#leave(from);
      turnBytes += bytes;
      const fds = this.#receiver.receivedFdCount > 0 ? this.#receiver.takeFds() : NO_FDS;
      for (let index = 0; index < this.#receivers.length; index += 1) {
        const to = this.#receivers[index] as number;
        if (to !== from) this.#forward(to, bytes, fds);
      }
      for (let index = 0; index < fds.length; index += 1) closeFd(fds[index] as number);
    }
  }

  #forward(to: number, bytes: number, fds: readonly number[]): void {
    while (this.#send(to, bytes, fds) === WOULD_BLOCK) {
      const writable = new Epoll(1);
      writable.add(to, EPOLLOUT, 0);
      writable.wait(-1);
      writable.close();
    }
  }

  #send(to: number, bytes: number, fds: readonly number[]): number {
    return fds.length === 0
      ? sendPacket(to, this.#buffer, 0, bytes)
      : sendPacketWithFds(to, this.#buffer, 0, bytes, fds);
  }

  #leave(fd: number): void {
    const index = this.#receivers.indexOf(fd);
    if (index >= 0) this.#receivers.splice(index, 1);
    // The next client gets the same number, and has said nothing yet.
    this.#greeted.delete(fd);
    this.#epoll.remove(fd);
    closeFd(fd);
  }
}

const relay = new FloorRelay(readWorkOrder().path);
report({ type: "ready" });
relay.run();
