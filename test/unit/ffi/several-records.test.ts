import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { PacketReceiver } from "../../../src/ffi/ancillary.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import {
  RECORD_FDS_TOGETHER_MAX,
  RECORDS_TOGETHER_MAX,
  type RecordWithFds,
  sendPacketsWithFds,
} from "../../../src/ffi/several-records.ts";
import { leakingNoFds } from "./fd-table.ts";
import { SocketPair } from "./socket-pair.ts";

/** A record of `bytes` bytes that all are `mark`. */
function recordOf(mark: number, bytes: number, fds: readonly number[]): RecordWithFds {
  const buffer = new PinnedBuffer(64);
  buffer.bytes.fill(mark);
  return { buffer, bytes, fds };
}

/** Calls back with so many open files, and closes them. */
function withMemfds(count: number, use: (fds: number[]) => void): void {
  const fds = Array.from({ length: count }, (_, index) => createMemfd(`file ${index}`));
  use(fds);
  for (const fd of fds) closeFd(fd);
}

/** What arrives next: the bytes, and the inodes of the files. */
function receiveNext(receiver: PacketReceiver, fd: number): { bytes: string; inodes: number[] } {
  const bytes = receiver.receive(fd);
  const fds = receiver.takeFds();
  const inodes = fds.map((each) => fstatSync(each).ino);
  for (const each of fds) closeFd(each);
  return { bytes: receiver.buffer.bytes.subarray(0, bytes).toHex(), inodes };
}

test(
  "sendPacketsWithFds() keeps records apart, in order, each with its own fds",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = new PacketReceiver(new PinnedBuffer(64));
    withMemfds(5, (fds) => {
      const records = [
        recordOf(1, 3, fds.slice(0, 1)),
        recordOf(2, 1, fds.slice(1)),
        recordOf(3, 2, fds.slice(0, 2)),
      ];
      expect(sendPacketsWithFds(pair.near.number, records, 3)).toBe(3);
      const inodes = fds.map((fd) => fstatSync(fd).ino);
      const far = pair.far.number;
      expect(receiveNext(receiver, far)).toEqual({ bytes: "010101", inodes: inodes.slice(0, 1) });
      expect(receiveNext(receiver, far)).toEqual({ bytes: "02", inodes: inodes.slice(1) });
      expect(receiveNext(receiver, far)).toEqual({ bytes: "0303", inodes: inodes.slice(0, 2) });
    });
  }),
);

test("sendPacketsWithFds() sends as many as asked for, and as the socket takes", () => {
  using pair = new SocketPair();
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  withMemfds(1, (fds) => {
    const records = Array.from({ length: RECORDS_TOGETHER_MAX }, (_, at) => recordOf(at, 1, fds));
    expect(sendPacketsWithFds(pair.near.number, records, 2)).toBe(2);
    let sent = 2;
    for (;;) {
      const more = sendPacketsWithFds(pair.near.number, records, RECORDS_TOGETHER_MAX);
      sent += more;
      if (more < RECORDS_TOGETHER_MAX) break;
    }
    expect(sendPacketsWithFds(pair.near.number, records, RECORDS_TOGETHER_MAX)).toBe(0);
    let received = 0;
    while (receiver.receive(pair.far.number) > 0) received += receiver.closeFds();
    expect(received).toBe(sent);
  });
});

test("sendPacketsWithFds() sends nothing to a peer that has gone, or of a file that is not open", () => {
  using pair = new SocketPair();
  withMemfds(1, (fds) => {
    const closed = [createMemfd("closed")];
    for (const fd of closed) closeFd(fd);
    const records = [recordOf(1, 1, closed), recordOf(2, 1, fds)];
    expect(sendPacketsWithFds(pair.near.number, records, 2)).toBe(0);
    pair.far.close();
    expect(sendPacketsWithFds(pair.near.number, [recordOf(1, 1, fds)], 1)).toBe(0);
  });
});

test("sendPacketsWithFds() refuses what no batch holds", () => {
  using pair = new SocketPair();
  const near = pair.near.number;
  withMemfds(1, (fds) => {
    const many = Array.from({ length: RECORD_FDS_TOGETHER_MAX + 1 }, () => fds[0] ?? 0);
    const broken = [recordOf(1, 1, []), recordOf(1, 1, many), recordOf(1, 0, fds)];
    broken.push(recordOf(1, 65, fds));
    for (const record of broken) {
      expect(() => sendPacketsWithFds(near, [record], 1)).toThrow(AssertionError);
    }
    const record = recordOf(1, 1, fds);
    expect(() => sendPacketsWithFds(near, [record], 2)).toThrow("as many records");
    for (const count of [0, RECORDS_TOGETHER_MAX + 1]) {
      expect(() => sendPacketsWithFds(near, [record], count)).toThrow("the batch has room");
    }
  });
});
