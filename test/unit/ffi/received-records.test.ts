import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import {
  RECORDS_RECEIVED_TOGETHER_MAX,
  ReceivedRecords,
} from "../../../src/ffi/received-records.ts";
import { sendPacket } from "../../../src/ffi/seqpacket.ts";
import { enablePacketCredentials } from "../../../src/ffi/socket-options.ts";
import { PEER_CLOSED, RECORD_TRUNCATED } from "../../../src/ffi/syscall-result.ts";
import { leakingNoFds } from "./fd-table.ts";
import { SocketPair } from "./socket-pair.ts";

const CAPACITY_BYTES = 64;

/** Sends `bytes` bytes that all are `mark`, with new files. @returns the inodes of these */
function send(pair: SocketPair, mark: number, bytes: number, files = 0): number[] {
  const buffer = new PinnedBuffer(CAPACITY_BYTES * 2);
  buffer.bytes.fill(mark);
  const fds = Array.from({ length: files }, () => createMemfd("sent"));
  const inodes = fds.map((fd) => fstatSync(fd).ino);
  const sent =
    files === 0
      ? sendPacket(pair.near.number, buffer, 0, bytes)
      : sendPacketWithFds(pair.near.number, buffer, 0, bytes, fds);
  expect(sent).toBe(bytes);
  for (const fd of fds) closeFd(fd);
  return inodes;
}

/** What next() comes to: the bytes, and the inodes of the files, which are closed. */
function takeNext(records: ReceivedRecords): { bytes: string; inodes: number[] } {
  const bytes = records.next();
  const { current } = records;
  const fds = current.takeFds();
  const inodes = fds.map((fd) => fstatSync(fd).ino);
  for (const fd of fds) closeFd(fd);
  return { bytes: current.buffer.bytes.subarray(0, bytes).toHex(), inodes };
}

test(
  "ReceivedRecords.receive() keeps records apart, in order, each with its own fds",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const records = new ReceivedRecords(CAPACITY_BYTES, closeFd);
    const first = send(pair, 1, 3, 1);
    send(pair, 2, 1);
    const third = send(pair, 3, 2, 4);
    expect(records.receive(pair.far.number, RECORDS_RECEIVED_TOGETHER_MAX)).toBe(3);
    expect(takeNext(records)).toEqual({ bytes: "010101", inodes: first });
    expect(takeNext(records)).toEqual({ bytes: "02", inodes: [] });
    expect(records.ahead).toBe(1);
    expect(takeNext(records)).toEqual({ bytes: "0303", inodes: third });
    expect(records.ahead).toBe(0);
  }),
);

test(
  "ReceivedRecords.receive() takes the most fds that a record can have in each, batch after batch",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const records = new ReceivedRecords(CAPACITY_BYTES, closeFd);
    for (let batch = 0; batch < 2; batch += 1) {
      const inodes = [send(pair, 1, 1, 253), send(pair, 2, 1, 253), send(pair, 3, 1, 1)];
      expect(records.receive(pair.far.number, 2)).toBe(2);
      expect(takeNext(records).inodes).toEqual(inodes[0] as number[]);
      expect(takeNext(records).inodes).toEqual(inodes[1] as number[]);
      expect(records.receive(pair.far.number, 2)).toBe(1);
      expect(takeNext(records).inodes).toEqual(inodes[2] as number[]);
    }
  }),
);

test("ReceivedRecords.receive() returns 0 where nothing is there", () => {
  using pair = new SocketPair();
  const records = new ReceivedRecords(CAPACITY_BYTES, closeFd);
  expect(records.receive(pair.far.number, 4)).toBe(0);
  expect(records.ahead).toBe(0);
  expect(() => records.next()).toThrow(AssertionError);
});

test(
  "ReceivedRecords.next() closes the fds of a record that is too long, and of an empty one",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const records = new ReceivedRecords(CAPACITY_BYTES, closeFd);
    send(pair, 1, CAPACITY_BYTES + 1, 2);
    send(pair, 2, CAPACITY_BYTES, 1);
    pair.near.close();
    expect(records.receive(pair.far.number, 4)).toBe(4);
    expect(records.next()).toBe(RECORD_TRUNCATED);
    expect(records.current.receivedFdCount).toBe(0);
    expect(takeNext(records).bytes).toBe("02".repeat(CAPACITY_BYTES));
    expect(records.next()).toBe(PEER_CLOSED);
    expect(records.next()).toBe(PEER_CLOSED);
  }),
);

test(
  "ReceivedRecords.drop() closes the fds of records that were not reached, and of no others",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const closed: number[] = [];
    const close = (fd: number): void => {
      closed.push(fd);
      closeFd(fd);
    };
    const records = new ReceivedRecords(CAPACITY_BYTES, close);
    for (let mark = 1; mark <= 3; mark += 1) send(pair, mark, 1, 2);
    records.receive(pair.far.number, 3);
    records.next();
    const taken = records.current.takeFds();
    records.drop();
    expect(closed).toHaveLength(4);
    expect(records.ahead).toBe(0);
    for (const fd of taken) closeFd(fd);
    records.drop();
    expect(closed).toHaveLength(4);
  }),
);

test("ReceivedRecords.next() says of each record who sent it, where the socket tells", () => {
  using pair = new SocketPair();
  enablePacketCredentials(pair.far.number);
  const records = new ReceivedRecords(CAPACITY_BYTES, closeFd);
  send(pair, 1, 1);
  send(pair, 2, 1, 1);
  records.receive(pair.far.number, 2);
  records.next();
  expect(records.current.credentialsPid).toBe(process.pid);
  records.next();
  expect(records.current.hasCredentials).toBe(true);
  expect(records.current.credentialsPid).toBe(process.pid);
  expect(records.current.closeFds()).toBe(1);
});

test("ReceivedRecords.receive() overwrites nothing, and takes a batch that it has room for", () => {
  using pair = new SocketPair();
  const records = new ReceivedRecords(CAPACITY_BYTES, closeFd);
  const far = pair.far.number;
  expect(() => records.receive(far, 0)).toThrow(AssertionError);
  expect(() => records.receive(far, RECORDS_RECEIVED_TOGETHER_MAX + 1)).toThrow(AssertionError);
  send(pair, 1, 1);
  records.receive(far, 1);
  expect(() => records.receive(far, 1)).toThrow("no record is overwritten");
});
