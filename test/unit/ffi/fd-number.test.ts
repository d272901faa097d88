import { afterAll, expect, test } from "bun:test";
import { ArgumentError } from "../../../src/errors.ts";
import { PacketReceiver, sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { waitReadable } from "../../../src/ffi/blocking-poll.ts";
import { Epoll } from "../../../src/ffi/epoll.ts";
import { assertFd } from "../../../src/ffi/fd-number.ts";
import { lockExclusive } from "../../../src/ffi/file-lock.ts";
import { addSeals, ftruncate, getSeals } from "../../../src/ffi/memfd.ts";
import { closeFd, duplicateFd, OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { getPeerCredentials, getPeerGroups } from "../../../src/ffi/peer-credentials.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import * as seqpacket from "../../../src/ffi/seqpacket.ts";
import * as options from "../../../src/ffi/socket-options.ts";
import { fdsOpenedSince, isOpenFd, openFds } from "./fd-table.ts";

const buffer = new PinnedBuffer(64);
const receiver = new PacketReceiver(buffer);
const epoll = new Epoll(1);
const [socket, peer] = seqpacket.openSeqpacketPair();

afterAll(() => {
  epoll.close();
  closeFd(socket);
  closeFd(peer);
});

/** Every way to hand an fd to src/ffi. */
const TAKERS: [string, (fd: number) => unknown][] = [
  ["closeFd", closeFd],
  ["duplicateFd", duplicateFd],
  ["OwnedFd.adopt", (fd) => OwnedFd.adopt(fd, { allowStandard: true })],
  ["bindPath", (fd) => seqpacket.bindPath(fd, "/nonexistent/socket")],
  ["listen", (fd) => seqpacket.listen(fd, 1)],
  ["connectPath", (fd) => seqpacket.connectPath(fd, "/nonexistent/socket")],
  ["acceptConnection", seqpacket.acceptConnection],
  ["sendPacket", (fd) => seqpacket.sendPacket(fd, buffer, 0, 8)],
  ["shutdownBoth", seqpacket.shutdownBoth],
  ["PacketReceiver.receive", (fd) => receiver.receive(fd)],
  ["sendPacketWithFds, the socket", (fd) => sendPacketWithFds(fd, buffer, 0, 8, [socket])],
  ["sendPacketWithFds, an element", (fd) => sendPacketWithFds(socket, buffer, 0, 8, [fd])],
  ["Epoll.add", (fd) => epoll.add(fd, 1, 1)],
  ["Epoll.modify", (fd) => epoll.modify(fd, 1, 1)],
  ["Epoll.remove", (fd) => epoll.remove(fd)],
  ["getSocketType", options.getSocketType],
  ["getSocketDomain", options.getSocketDomain],
  ["getAcceptConnections", options.getAcceptConnections],
  ["getSendBufferBytes", options.getSendBufferBytes],
  ["setSendBufferBytes", (fd) => options.setSendBufferBytes(fd, 4096)],
  ["setReceiveBufferBytes", (fd) => options.setReceiveBufferBytes(fd, 4096)],
  ["getPeerCredentials", getPeerCredentials],
  ["getPeerGroups", getPeerGroups],
  ["addSeals", (fd) => addSeals(fd, 1)],
  ["getSeals", getSeals],
  ["ftruncate", (fd) => ftruncate(fd, 0)],
  ["lockExclusive", lockExclusive],
  ["waitReadable", (fd) => waitReadable(fd, 0)],
];

/** What a bug could hand over in place of an fd; bun:ffi would make 0 or another fd of most. */
const NO_FDS: unknown[] = [
  undefined,
  null,
  Number.NaN,
  -1,
  1.5,
  2 ** 31,
  2 ** 32,
  Number.POSITIVE_INFINITY,
  "0",
  true,
  0n,
  {},
];

function codeOf(call: () => unknown): unknown {
  try {
    call();
    return "returned";
  } catch (error) {
    return error instanceof ArgumentError ? error.code : error;
  }
}

test.each(TAKERS)("%s refuses what is no fd number, and fd 0 stays open", (_name, take) => {
  expect(isOpenFd(0)).toBe(true);
  const before = openFds();
  for (const value of NO_FDS) expect(codeOf(() => take(value as number))).toBe("ARGUMENT_FD");
  expect(fdsOpenedSince(before)).toEqual([]);
  expect(isOpenFd(0)).toBe(true);
});

test("assertFd() takes 0 and 2^31-1", () => {
  expect(() => assertFd(0, "fd")).not.toThrow();
  expect(() => assertFd(2 ** 31 - 1, "fd")).not.toThrow();
});

test("assertFd() names the argument and what it got instead", () => {
  expect(() => assertFd(undefined, "listenFd")).toThrow(
    "Cannot use listenFd as file descriptor: it is undefined, must be an integer 0..2147483647",
  );
  expect(() => assertFd(-1, "fd")).toThrow("it is -1, must be");
});
