/**
 * Ways in which a client can wait for a record on a SEQPACKET socket. Each asks once, and calls
 * back when the answer is there. For measuring alone: the library's way is src/client/packet-socket.ts.
 */

import { PacketReceiver } from "../../src/ffi/ancillary.ts";
import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../src/ffi/seqpacket.ts";
import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";

/** Bytes of a question and of an answer. */
export const RECORD_BYTES = 64;

/** The fd that the peer inherits. */
export const PEER_FD = 3;

/** Sends one record and resolves when one has come back. */
export type RoundTrip = () => Promise<void> | void;

/** Names of the ways, the floor first. */
export const WAITING_WAYS = ["blocking", "bun-connect", "worker"] as const;

/** One of them. */
export type WaitingWay = (typeof WAITING_WAYS)[number];

/** @param fd connected, borrowed until the end of the process */
export function openWay(way: WaitingWay, fd: number): RoundTrip | Promise<RoundTrip> {
  switch (way) {
    case "blocking":
      return waitBlocking(fd);
    case "bun-connect":
      return waitInBun(fd);
    case "worker":
      return waitInWorker(fd);
  }
}

/** poll(2): the floor. Nothing else of the program runs meanwhile. */
function waitBlocking(fd: number): RoundTrip {
  const record = new PinnedBuffer(RECORD_BYTES);
  const receiver = new PacketReceiver(new PinnedBuffer(RECORD_BYTES));
  return () => {
    sendPacket(fd, record, 0, RECORD_BYTES);
    while (receiver.receive(fd) === WOULD_BLOCK) waitReadable(fd, -1);
  };
}

type ConnectFd = (options: { fd: number; socket: { data(): void } }) => Promise<unknown>;

/** Bun's own event loop reads the socket, with recv(2). */
async function waitInBun(fd: number): Promise<RoundTrip> {
  const record = new PinnedBuffer(RECORD_BYTES);
  let answered = Promise.withResolvers<void>();
  await (Bun.connect as unknown as ConnectFd)({ fd, socket: { data: () => answered.resolve() } });
  return () => {
    answered = Promise.withResolvers();
    sendPacket(fd, record, 0, RECORD_BYTES);
    return answered.promise;
  };
}

/** A worker sleeps in epoll_wait(2) and wakes this thread through shared memory. */
async function waitInWorker(fd: number): Promise<RoundTrip> {
  const record = new PinnedBuffer(RECORD_BYTES);
  const receiver = new PacketReceiver(new PinnedBuffer(RECORD_BYTES));
  const counter = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("readiness-worker.ts", import.meta.url).href);
  const ready = Promise.withResolvers<void>();
  worker.onmessage = () => ready.resolve();
  worker.postMessage({ fd, counter });
  await ready.promise;
  return async () => {
    sendPacket(fd, record, 0, RECORD_BYTES);
    for (;;) {
      const seen = Atomics.load(counter, 0);
      if (receiver.receive(fd) > 0) return;
      const { async, value } = Atomics.waitAsync(counter, 0, seen);
      if (async) await value;
    }
  };
}
