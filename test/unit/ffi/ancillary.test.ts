import type { Pointer } from "bun:ffi";
import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { LimitError, SyscallError } from "../../../src/errors.ts";
import { PacketReceiver, sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { SOL_SOCKET } from "../../../src/ffi/constants.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { closeFd, OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { openSeqpacket, sendPacket } from "../../../src/ffi/seqpacket.ts";
import { enablePacketCredentials } from "../../../src/ffi/socket-options.ts";
import { packMessageHeader, packU64 } from "../../../src/ffi/structs.ts";
import {
  PEER_CLOSED,
  RECORD_TOO_LARGE,
  RECORD_TRUNCATED,
  WOULD_BLOCK,
} from "../../../src/ffi/syscall-result.ts";
import { isCloseOnExec, isOpenFd, leakingNoFds, openHighFd } from "./fd-table.ts";
import { runFixture } from "./fixture-process.ts";
import { SocketPair } from "./socket-pair.ts";

const SO_PASSCRED = 16;
const packet = new PinnedBuffer(256);

function createReceiver(capacityBytes?: number): PacketReceiver {
  return new PacketReceiver(new PinnedBuffer(256), capacityBytes);
}

/** Opens so many memfds, hands them to the body and closes them. */
function withMemfds(count: number, body: (fds: number[]) => void): void {
  const fds = Array.from({ length: count }, (_, index) => createMemfd(`file ${index}`));
  body(fds);
  for (const fd of fds) closeFd(fd);
}

/** inode numbers tell whether two fds are the same open file. */
function inodes(fds: readonly number[]): number[] {
  return fds.map((fd) => fstatSync(fd).ino);
}

test(
  "fds arrive in order, close-on-exec, as the same files, beside the bytes",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver();
    withMemfds(3, (fds) => {
      packet.bytes.set([1, 2, 3, 4, 5], 8);
      expect(sendPacketWithFds(pair.near.number, packet, 8, 5, fds)).toBe(5);
      expect(receiver.receive(pair.far.number)).toBe(5);
      expect(receiver.buffer.bytes.toHex().slice(0, 10)).toBe("0102030405");
      expect(receiver.receivedFdCount).toBe(3);
      expect(receiver.controlTruncated).toBe(false);
      const received = receiver.takeFds();
      expect(receiver.receivedFdCount).toBe(0);
      expect(received.filter((fd) => fds.includes(fd))).toEqual([]);
      expect(received.every(isCloseOnExec)).toBe(true);
      expect(inodes(received)).toEqual(inodes(fds));
      for (const fd of received) closeFd(fd);
    });
  }),
);

test(
  "PacketReceiver.limitFds() lets in so many fds of a record, also beside credentials, and tells",
  leakingNoFds(() => {
    withMemfds(9, (fds) => {
      for (const hasCredentials of [false, true]) {
        using pair = new SocketPair();
        if (hasCredentials) enablePacketCredentials(pair.far.number);
        const receiver = createReceiver();
        for (const limit of [0, 1, 2, 8, 9]) {
          receiver.limitFds(limit, hasCredentials);
          sendPacketWithFds(pair.near.number, packet, 0, 8, fds);
          expect(receiver.receive(pair.far.number)).toBe(8);
          expect([receiver.receivedFdCount, receiver.controlTruncated]).toEqual([limit, limit < 9]);
          expect(receiver.hasCredentials).toBe(hasCredentials);
          const received = receiver.takeFds();
          expect(inodes(received)).toEqual(inodes(fds.slice(0, limit)));
          for (const fd of received) closeFd(fd);
        }
      }
    });
  }),
);

test(
  "253 fds travel in one record; 254 are refused with LIMIT_MESSAGE_FDS and nothing is sent",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver();
    withMemfds(254, (fds) => {
      expect(() => sendPacketWithFds(pair.near.number, packet, 0, 8, fds)).toThrow(LimitError);
      expect(receiver.receive(pair.far.number)).toBe(WOULD_BLOCK);
      const most = fds.slice(1);
      expect(sendPacketWithFds(pair.near.number, packet, 0, 8, most)).toBe(8);
      expect(receiver.receive(pair.far.number)).toBe(8);
      expect(receiver.controlTruncated).toBe(false);
      const received = receiver.takeFds();
      expect(inodes(received)).toEqual(inodes(most));
      for (const fd of received) closeFd(fd);
    });
  }),
);

test(
  "253 fds arrive whole beside other ancillary data (SCM_CREDENTIALS)",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const one = new PinnedBuffer(4);
    one.words[0] = 1;
    const { number } = pair.far;
    expect(libc.setsockopt(number, SOL_SOCKET, SO_PASSCRED, one.address as Pointer, 4)).toBe(0);
    const receiver = createReceiver();
    withMemfds(253, (fds) => {
      sendPacketWithFds(pair.near.number, packet, 0, 8, fds);
      expect(receiver.receive(number)).toBe(8);
      expect(receiver.controlTruncated).toBe(false);
      expect(receiver.receivedFdCount).toBe(253);
      expect(receiver.closeFds()).toBe(253);
    });
    sendPacket(pair.near.number, packet, 0, 8);
    expect(receiver.receive(number)).toBe(8);
    expect(receiver.receivedFdCount).toBe(0);
  }),
);

test(
  "closeFds() closes what was not taken, once",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver();
    withMemfds(5, (fds) => {
      sendPacketWithFds(pair.near.number, packet, 0, 8, fds);
      receiver.receive(pair.far.number);
      expect(receiver.closeFds()).toBe(5);
      expect(receiver.closeFds()).toBe(0);
      expect(receiver.takeFds()).toEqual([]);
    });
  }),
);

test(
  "receive() refuses to go on while fds of the last record are held",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver();
    withMemfds(1, (fds) => {
      sendPacketWithFds(pair.near.number, packet, 0, 8, fds);
      sendPacket(pair.near.number, packet, 0, 16);
      receiver.receive(pair.far.number);
      expect(() => receiver.receive(pair.far.number)).toThrow(AssertionError);
      receiver.closeFds();
      expect(receiver.receive(pair.far.number)).toBe(16);
    });
  }),
);

test(
  "a record longer than the capacity is RECORD_TRUNCATED, with its fds closed",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver(16);
    withMemfds(2, (fds) => {
      sendPacketWithFds(pair.near.number, packet, 0, 17, fds);
      sendPacketWithFds(pair.near.number, packet, 0, 16, fds);
      receiver.buffer.bytes.fill(0xee);
      expect(receiver.receive(pair.far.number)).toBe(RECORD_TRUNCATED);
      expect(receiver.receivedFdCount).toBe(0);
      expect(receiver.buffer.bytes[16]).toBe(0xee);
      expect(receiver.receive(pair.far.number)).toBe(16);
      expect(receiver.closeFds()).toBe(2);
    });
  }),
);

/** sendmsg(2) of an empty record with one fd, which sendPacketWithFds() would refuse. */
function sendEmptyRecord(socket: number, fd: number): number {
  const scratch = new PinnedBuffer(56 + 16 + 24);
  packMessageHeader(scratch.words, 0, {
    iovecAddress: scratch.address + 56,
    controlAddress: scratch.address + 72,
    controlBytes: 24,
  });
  packU64(scratch.words, 72, 20);
  scratch.words.set([1, 1, fd], (72 + 8) / 4);
  return libc.sendmsg(socket, scratch.address as Pointer, 0);
}

test(
  "an empty record counts as PEER_CLOSED, with its fds closed",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver();
    withMemfds(1, ([fd]) => {
      expect(sendEmptyRecord(pair.near.number, fd as number)).toBe(0);
      expect(receiver.receive(pair.far.number)).toBe(PEER_CLOSED);
      expect(receiver.receivedFdCount).toBe(0);
    });
  }),
);

test("receive() returns WOULD_BLOCK without a record and PEER_CLOSED at the end", () => {
  using pair = new SocketPair();
  const receiver = createReceiver();
  expect(receiver.receive(pair.far.number)).toBe(WOULD_BLOCK);
  pair.near.close();
  expect(receiver.receive(pair.far.number)).toBe(PEER_CLOSED);
  expect(receiver.receive(pair.far.number)).toBe(PEER_CLOSED);
});

test(
  "receive() gives what a peer sent before it closed without reading (ECONNRESET), then the end",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = createReceiver();
    withMemfds(1, (fds) => {
      sendPacket(pair.far.number, packet, 0, 8);
      sendPacketWithFds(pair.near.number, packet, 0, 24, fds);
      sendPacket(pair.near.number, packet, 0, 32);
      pair.near.close();
      expect(receiver.receive(pair.far.number)).toBe(24);
      expect(receiver.closeFds()).toBe(1);
      expect(receiver.receive(pair.far.number)).toBe(32);
      expect(receiver.receive(pair.far.number)).toBe(PEER_CLOSED);
    });
  }),
);

test("receive() throws SyscallError on a socket that was never connected", () => {
  using socket = OwnedFd.adopt(openSeqpacket());
  expect(() => createReceiver().receive(socket.number)).toThrow(SyscallError);
});

test("one PacketReceiver serves several sockets without mixing up lengths and fds", () => {
  using first = new SocketPair();
  using second = new SocketPair();
  const receiver = createReceiver();
  withMemfds(2, (fds) => {
    for (let round = 1; round <= 3; round += 1) {
      sendPacketWithFds(first.near.number, packet, 0, 8 * round, fds);
      sendPacket(second.near.number, packet, 0, 8);
      expect(receiver.receive(first.far.number)).toBe(8 * round);
      expect(receiver.closeFds()).toBe(2);
      expect(receiver.receive(second.far.number)).toBe(8);
      expect(receiver.receivedFdCount).toBe(0);
    }
  });
});

test("PacketReceiver refuses a capacity of 0 or beyond its buffer", () => {
  for (const capacity of [0, -1, 257, Number.NaN]) {
    expect(() => createReceiver(capacity)).toThrow(AssertionError);
  }
});

test("sendPacketWithFds() refuses no fds, no bytes and a range outside the buffer", () => {
  using pair = new SocketPair();
  const socket = pair.near.number;
  expect(() => sendPacketWithFds(socket, packet, 0, 8, [])).toThrow(AssertionError);
  expect(() => sendPacketWithFds(socket, packet, 0, 0, [0])).toThrow(AssertionError);
  expect(() => sendPacketWithFds(socket, packet, 250, 8, [0])).toThrow(AssertionError);
  expect(createReceiver().receive(pair.far.number)).toBe(WOULD_BLOCK);
});

test(
  "sendPacketWithFds() leaves the sender's fds open, also when nothing was sent",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const large = new PinnedBuffer(4 * 1024 * 1024);
    withMemfds(2, (fds) => {
      const socket = pair.near.number;
      expect(sendPacketWithFds(socket, large, 0, large.byteLength, fds)).toBe(RECORD_TOO_LARGE);
      let outcome = 256;
      while (outcome === 256) outcome = sendPacketWithFds(socket, packet, 0, 256, fds);
      expect(outcome).toBe(WOULD_BLOCK);
      pair.far.close();
      expect(sendPacketWithFds(socket, packet, 0, 256, fds)).toBe(PEER_CLOSED);
      expect(fds.every(isOpenFd)).toBe(true);
    });
  }),
);

test("sendPacketWithFds() names an fd that is not open, and sends nothing", () => {
  using pair = new SocketPair();
  const gone = openHighFd();
  closeFd(gone);
  const fds = [pair.far.number, gone];
  expect(() => sendPacketWithFds(pair.near.number, packet, 0, 8, fds)).toThrow(
    `descriptor ${gone}: it is not open`,
  );
  expect(createReceiver().receive(pair.far.number)).toBe(WOULD_BLOCK);
});

test(
  "fds in records that nobody received are closed with the socket",
  leakingNoFds(() => {
    using pair = new SocketPair();
    withMemfds(1, (fds) => {
      const [near, far] = [pair.near.number, pair.far.number];
      expect(sendPacketWithFds(near, packet, 0, 8, fds)).toBe(8);
      expect(sendPacketWithFds(far, packet, 0, 8, fds)).toBe(8);
    });
  }),
);

test("a receiver that may hold no more fds sees controlTruncated and can close the rest", async () => {
  const { output } = await runFixture("open-files-limit-fixture.ts", ["receive"]);
  expect(output).toMatchObject({ sent: 10, bytes: 8, controlTruncated: true, leaked: [] });
  // About three: a thread of Bun may have closed or opened one meanwhile.
  const { received } = output as { received: number };
  expect(received).toBeGreaterThan(0);
  expect(received).toBeLessThan(10);
});

test("sendPacketWithFds() returns FDS_REFUSED when too many are in flight, until they are received", async () => {
  const { output } = await runFixture("open-files-limit-fixture.ts", ["send"]);
  expect(output).toEqual({ refused: "FDS_REFUSED", afterReceiving: 8 });
});
