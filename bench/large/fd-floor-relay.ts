/**
 * The floor: a relay that passes each record and its fds on to all receivers and does nothing else,
 * on the same FFI layer as the broker. Only a yardstick.
 */

import { PacketReceiver, sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { EPOLLIN, EPOLLOUT } from "../../src/ffi/constants.ts";
import { Epoll } from "../../src/ffi/epoll.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import {
  acceptConnection,
  bindPath,
  listen,
  openSeqpacket,
  sendPacket,
} from "../../src/ffi/seqpacket.ts";
import { setSendBufferBytes } from "../../src/ffi/socket-options.ts";
import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";
import { FLOOR_RECEIVES, FLOOR_RECORD_BYTES } from "./floor-client.ts";
import { readLargeOrder, say } from "./large-order.ts";

const BACKLOG = 64;
const SEND_BUFFER_BYTES = 1024 * 1024;

const epoll = new Epoll();
const buffer = new PinnedBuffer(FLOOR_RECORD_BYTES);
const receiver = new PacketReceiver(buffer);
const listenFd = openSeqpacket();
const receivers: number[] = [];
const greeted = new Set<number>();

function accept(): void {
  const fd = acceptConnection(listenFd);
  if (fd < 0) return;
  setSendBufferBytes(fd, SEND_BUFFER_BYTES);
  epoll.add(fd, EPOLLIN, fd);
}

/** The first record of a client says whether it receives, and goes back to it. */
function greet(fd: number): void {
  if (receiver.receive(fd) !== FLOOR_RECORD_BYTES) return leave(fd);
  greeted.add(fd);
  if (buffer.words[0] === FLOOR_RECEIVES) receivers.push(fd);
  sendPacket(fd, buffer, 0, FLOOR_RECORD_BYTES);
}

function relay(from: number): void {
  for (;;) {
    const bytes = receiver.receive(from);
    if (bytes === WOULD_BLOCK) return;
    if (bytes < 0) return leave(from);
    const fds = receiver.takeFds();
    for (const to of receivers) forward(to, bytes, fds);
    for (const fd of fds) closeFd(fd);
  }
}

function forward(to: number, bytes: number, fds: readonly number[]): void {
  for (;;) {
    const sent =
      fds.length === 0
        ? sendPacket(to, buffer, 0, bytes)
        : sendPacketWithFds(to, buffer, 0, bytes, fds);
    if (sent !== WOULD_BLOCK) return;
    const writable = new Epoll(1);
    writable.add(to, EPOLLOUT, 0);
    writable.wait(-1);
    writable.close();
  }
}

function leave(fd: number): void {
  const index = receivers.indexOf(fd);
  if (index >= 0) receivers.splice(index, 1);
  epoll.remove(fd);
  closeFd(fd);
}

bindPath(listenFd, readLargeOrder().path);
listen(listenFd, BACKLOG);
epoll.add(listenFd, EPOLLIN, listenFd);
say({ type: "ready" });
await new Promise((resolve) => setImmediate(resolve));
for (;;) {
  const count = epoll.wait(-1);
  for (let index = 0; index < count; index += 1) {
    const fd = epoll.token(index);
    if (fd === listenFd) accept();
    else if (greeted.has(fd)) relay(fd);
    else greet(fd);
  }
}
