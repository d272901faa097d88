import { expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import { AF_UNIX, SOCK_SEQPACKET } from "../../../src/ffi/constants.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { bindPath, listen, openSeqpacket } from "../../../src/ffi/seqpacket.ts";
import * as options from "../../../src/ffi/socket-options.ts";
import { testUnless } from "../../support/loud-skip.ts";
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
