import { expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import { PacketReceiver, sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { AF_UNIX, SOCK_SEQPACKET } from "../../../src/ffi/constants.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import {
  acceptConnection,
  bindPath,
  connectPath,
  listen,
  openSeqpacket,
} from "../../../src/ffi/seqpacket.ts";
import * as options from "../../../src/ffi/socket-options.ts";
import { FDS_UNWANTED } from "../../../src/ffi/syscall-result.ts";
import { skipLoudly, testUnless } from "../../support/loud-skip.ts";
import { SocketDirectory } from "./socket-directory.ts";

test("getSocketDomain() and getSocketType() tell a Unix SEQPACKET socket", () => {
  using socket = OwnedFd.adopt(openSeqpacket());
  expect(options.getSocketDomain(socket.number)).toBe(AF_UNIX);
  expect(options.getSocketType(socket.number)).toBe(SOCK_SEQPACKET);
});

test("getAcceptConnections() is true from listen() on", () => {
  using directory = new SocketDirectory();
  using socket = OwnedFd.adopt(openSeqpacket());
  bindPath(socket.number, directory.file("bus"));
  expect(options.getAcceptConnections(socket.number)).toBe(false);
  listen(socket.number, 1);
  expect(options.getAcceptConnections(socket.number)).toBe(true);
});

test("setSendBufferBytes() sets what getSendBufferBytes() reads back doubled", () => {
  using socket = OwnedFd.adopt(openSeqpacket());
  options.setSendBufferBytes(socket.number, 40_000);
  expect(options.getSendBufferBytes(socket.number)).toBe(80_000);
});

test("setSendBufferBytes() asks for more than wmem_max without failing", () => {
  using socket = OwnedFd.adopt(openSeqpacket());
  const before = options.getSendBufferBytes(socket.number);
  options.setSendBufferBytes(socket.number, 16 * 1024 * 1024);
  expect(options.getSendBufferBytes(socket.number)).toBeGreaterThanOrEqual(before);
});

testUnless(
  process.getuid?.() !== 0,
  "only root may pass wmem_max",
  "setSendBufferBytes() passes wmem_max where that is permitted",
  () => {
    using socket = OwnedFd.adopt(openSeqpacket());
    options.setSendBufferBytes(socket.number, 16 * 1024 * 1024);
    expect(options.getSendBufferBytes(socket.number)).toBe(32 * 1024 * 1024);
  },
);

test("setReceiveBufferBytes() is taken by a Unix socket", () => {
  using socket = OwnedFd.adopt(openSeqpacket());
  expect(() => options.setReceiveBufferBytes(socket.number, 40_000)).not.toThrow();
});

test.each([0, -1, 1.5, 2 ** 31, Number.NaN])("a buffer size of %p is refused", (bytes) => {
  using socket = OwnedFd.adopt(openSeqpacket());
  expect(() => options.setSendBufferBytes(socket.number, bytes)).toThrow(AssertionError);
  expect(() => options.setReceiveBufferBytes(socket.number, bytes)).toThrow(AssertionError);
});

test("every option throws ENOTSOCK with its name for an fd that is no socket", () => {
  using file = OwnedFd.adopt(createMemfd("no socket"));
  const fd = file.number;
  expect(() => options.getSocketType(fd)).toThrow(`Cannot getsockopt SO_TYPE fd ${fd}: ENOTSOCK`);
  expect(() => options.getSocketDomain(fd)).toThrow("SO_DOMAIN");
  expect(() => options.getAcceptConnections(fd)).toThrow("SO_ACCEPTCONN");
  expect(() => options.getSendBufferBytes(fd)).toThrow("SO_SNDBUF");
  expect(() => options.setSendBufferBytes(fd, 4096)).toThrow("SO_SNDBUF");
  expect(() => options.setReceiveBufferBytes(fd, 4096)).toThrow("SO_RCVBUF");
});

test("setPassRights() keeps fds from being sent at all, to accepted sockets too", () => {
  using directory = new SocketDirectory();
  using listener = OwnedFd.adopt(openSeqpacket());
  bindPath(listener.number, directory.file("bus"));
  if (!options.setPassRights(listener.number, false)) {
    return skipLoudly("the kernel does not know SO_PASSRIGHTS, which came with Linux 6.16");
  }
  listen(listener.number, 1);
  using sender = OwnedFd.adopt(openSeqpacket());
  connectPath(sender.number, directory.file("bus"));
  const record = new PinnedBuffer(8);
  const send = () => sendPacketWithFds(sender.number, record, 0, 8, [sender.number]);
  expect(send()).toBe(FDS_UNWANTED);
  using accepted = OwnedFd.adopt(acceptConnection(listener.number));
  expect(send()).toBe(FDS_UNWANTED);
  options.setPassRights(accepted.number, true);
  expect(send()).toBe(8);
  options.setPassRights(accepted.number, false);
  expect(send()).toBe(FDS_UNWANTED);
  const receiver = new PacketReceiver(new PinnedBuffer(8));
  expect(receiver.receive(accepted.number)).toBe(8);
  expect(receiver.closeFds()).toBe(1);
});

test("setPassRights() throws for what is no Unix socket", () => {
  using memory = OwnedFd.adopt(createMemfd("no socket"));
  expect(() => options.setPassRights(memory.number, false)).toThrow("ENOTSOCK");
});
