import { expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { ArgumentError, SyscallError } from "../../../src/errors.ts";
import { PacketReceiver } from "../../../src/ffi/ancillary.ts";
import { AF_UNIX, SOCK_SEQPACKET } from "../../../src/ffi/constants.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import * as seqpacket from "../../../src/ffi/seqpacket.ts";
import {
  getSocketDomain,
  getSocketType,
  setSendBufferBytes,
} from "../../../src/ffi/socket-options.ts";
import { PEER_CLOSED, RECORD_TOO_LARGE, WOULD_BLOCK } from "../../../src/ffi/syscall-result.ts";
import { isCloseOnExec, isNonBlocking, leakingNoFds } from "./fd-table.ts";
import { runFixture } from "./fixture-process.ts";
import { SocketDirectory } from "./socket-directory.ts";
import { SocketPair } from "./socket-pair.ts";

const packet = new PinnedBuffer(65_536);

function listenAt(path: string, backlog = 8): OwnedFd {
  const listener = OwnedFd.adopt(seqpacket.openSeqpacket());
  seqpacket.bindPath(listener.number, path);
  seqpacket.listen(listener.number, backlog);
  return listener;
}

function errorOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

test(
  "openSeqpacket() and openSeqpacketPair() open non-blocking close-on-exec SEQPACKET sockets",
  leakingNoFds(() => {
    using single = OwnedFd.adopt(seqpacket.openSeqpacket());
    using pair = new SocketPair();
    for (const socket of [single, pair.near, pair.far]) {
      expect(getSocketDomain(socket.number)).toBe(AF_UNIX);
      expect(getSocketType(socket.number)).toBe(SOCK_SEQPACKET);
      expect(isCloseOnExec(socket.number)).toBe(true);
      expect(isNonBlocking(socket.number)).toBe(true);
    }
  }),
);

test(
  "a client that connects is accepted, non-blocking and close-on-exec, and its record arrives",
  leakingNoFds(() => {
    using directory = new SocketDirectory();
    using listener = listenAt(directory.file("bus"));
    expect(seqpacket.acceptConnection(listener.number)).toBe(WOULD_BLOCK);

    using client = OwnedFd.adopt(seqpacket.openSeqpacket());
    seqpacket.connectPath(client.number, directory.file("bus"));
    using accepted = OwnedFd.adopt(seqpacket.acceptConnection(listener.number));
    expect(isCloseOnExec(accepted.number)).toBe(true);
    expect(isNonBlocking(accepted.number)).toBe(true);

    const receiver = new PacketReceiver(new PinnedBuffer(64));
    expect(seqpacket.sendPacket(client.number, packet, 0, 24)).toBe(24);
    expect(receiver.receive(accepted.number)).toBe(24);
  }),
);

test(
  "sendPacket() keeps the borders of records and sends the range it was given",
  leakingNoFds(() => {
    using pair = new SocketPair();
    const receiver = new PacketReceiver(new PinnedBuffer(65_536));
    const source = new PinnedBuffer(65_536);
    for (let index = 0; index < source.byteLength; index += 1) source.bytes[index] = index % 251;
    const ranges = [
      [0, 1],
      [3, 16],
      [4096, 1000],
      [0, 65_536],
      [65_535, 1],
    ] as const;
    for (const [offset, bytes] of ranges) {
      expect(seqpacket.sendPacket(pair.near.number, source, offset, bytes)).toBe(bytes);
    }
    for (const [offset, bytes] of ranges) {
      expect(receiver.receive(pair.far.number)).toBe(bytes);
      expect(receiver.buffer.bytes.slice(0, bytes)).toEqual(
        source.bytes.slice(offset, offset + bytes),
      );
    }
    expect(receiver.receive(pair.far.number)).toBe(WOULD_BLOCK);
  }),
);

test.each([
  ["no bytes", 0, 0],
  ["a range past the end", 65_530, 8],
  ["a negative offset", -8, 8],
  ["a negative length", 8, -1],
  ["a NaN length", 0, Number.NaN],
])("sendPacket() refuses %s", (_name, offset, bytes) => {
  using pair = new SocketPair();
  expect(() => seqpacket.sendPacket(pair.near.number, packet, offset, bytes)).toThrow(
    AssertionError,
  );
});

test("sendPacket() returns WOULD_BLOCK when the receiver's queue is full, and works again after", () => {
  using pair = new SocketPair();
  let queued = 0;
  while (seqpacket.sendPacket(pair.near.number, packet, 0, 4096) === 4096) queued += 1;
  expect(queued).toBeGreaterThan(1);
  expect(seqpacket.sendPacket(pair.near.number, packet, 0, 4096)).toBe(WOULD_BLOCK);
  const receiver = new PacketReceiver(new PinnedBuffer(4096));
  while (receiver.receive(pair.far.number) === 4096) queued -= 1;
  expect(queued).toBe(0);
  expect(seqpacket.sendPacket(pair.near.number, packet, 0, 4096)).toBe(4096);
});

test("sendPacket() returns RECORD_TOO_LARGE for a record beyond SO_SNDBUF", () => {
  using pair = new SocketPair();
  setSendBufferBytes(pair.near.number, 8192);
  expect(seqpacket.sendPacket(pair.near.number, packet, 0, 65_536)).toBe(RECORD_TOO_LARGE);
  expect(seqpacket.sendPacket(pair.near.number, packet, 0, 4096)).toBe(4096);
});

test("sendPacket() returns PEER_CLOSED after the peer closed or shut down, each time", () => {
  for (const end of [
    (pair: SocketPair) => pair.far.close(),
    (pair: SocketPair) => seqpacket.shutdownBoth(pair.far.number),
    (pair: SocketPair) => seqpacket.shutdownBoth(pair.near.number),
  ]) {
    using pair = new SocketPair();
    end(pair);
    expect(seqpacket.sendPacket(pair.near.number, packet, 0, 8)).toBe(PEER_CLOSED);
    expect(seqpacket.sendPacket(pair.near.number, packet, 0, 8)).toBe(PEER_CLOSED);
  }
});

test("sendPacket() returns PEER_CLOSED on a socket that was never connected", () => {
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  expect(seqpacket.sendPacket(socket.number, packet, 0, 8)).toBe(PEER_CLOSED);
});

test("sendPacket() throws SyscallError for an fd that is no socket", () => {
  using file = OwnedFd.adopt(createMemfd("no socket"));
  const error = errorOf(() => seqpacket.sendPacket(file.number, packet, 0, 8));
  expect(error).toBeInstanceOf(SyscallError);
  expect(error).toMatchObject({ code: "ENOTSOCK", syscall: "send" });
});

test("shutdownBoth() lets queued records through, then both sides see the end", () => {
  using pair = new SocketPair();
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  seqpacket.sendPacket(pair.near.number, packet, 0, 16);
  seqpacket.shutdownBoth(pair.near.number);
  expect(receiver.receive(pair.far.number)).toBe(16);
  expect(receiver.receive(pair.far.number)).toBe(PEER_CLOSED);
  expect(receiver.receive(pair.near.number)).toBe(PEER_CLOSED);
});

test("shutdownBoth() leaves a socket alone that is not connected", () => {
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  expect(() => seqpacket.shutdownBoth(socket.number)).not.toThrow();
});

test("acceptConnection() throws SyscallError on a socket that does not listen", () => {
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  expect(errorOf(() => seqpacket.acceptConnection(socket.number))).toMatchObject({
    code: "EINVAL",
    syscall: "accept4",
  });
});

test("acceptConnection() still takes a client that is gone, and then reads its end", () => {
  using directory = new SocketDirectory();
  using listener = listenAt(directory.file("bus"));
  const client = OwnedFd.adopt(seqpacket.openSeqpacket());
  seqpacket.connectPath(client.number, directory.file("bus"));
  client.close();
  using accepted = OwnedFd.adopt(seqpacket.acceptConnection(listener.number));
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  expect(receiver.receive(accepted.number)).toBe(PEER_CLOSED);
});

test("connectPath() throws ENOENT or ECONNREFUSED with the path where nobody listens", () => {
  using directory = new SocketDirectory();
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  const path = directory.file("bus");
  expect(errorOf(() => seqpacket.connectPath(socket.number, path))).toMatchObject({
    code: "ENOENT",
    path,
    message: `Cannot connect "${path}": ENOENT, no such file or directory`,
  });
  listenAt(path).close();
  expect(errorOf(() => seqpacket.connectPath(socket.number, path))).toMatchObject({
    code: "ECONNREFUSED",
    path,
  });
});

test("connectPath() throws EPROTOTYPE where a stream socket listens", () => {
  using directory = new SocketDirectory();
  const path = directory.file("stream");
  const server = Bun.listen({ unix: path, socket: { data() {} } });
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  const error = errorOf(() => seqpacket.connectPath(socket.number, path));
  server.stop(true);
  expect(error).toMatchObject({ code: "EPROTOTYPE" });
});

test("connectPath() throws EAGAIN when the backlog is full, and works once there is room", () => {
  using directory = new SocketDirectory();
  using listener = listenAt(directory.file("bus"), 0);
  using first = OwnedFd.adopt(seqpacket.openSeqpacket());
  using second = OwnedFd.adopt(seqpacket.openSeqpacket());
  seqpacket.connectPath(first.number, directory.file("bus"));
  const connectSecond = () => seqpacket.connectPath(second.number, directory.file("bus"));
  expect(errorOf(connectSecond)).toMatchObject({ code: "EAGAIN" });
  OwnedFd.adopt(seqpacket.acceptConnection(listener.number)).close();
  expect(connectSecond).not.toThrow();
});

test("bindPath() throws EADDRINUSE where anything is, a stale socket or a file", () => {
  using directory = new SocketDirectory();
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  listenAt(directory.file("stale")).close();
  writeFileSync(directory.file("file"), "");
  for (const path of [directory.file("stale"), directory.file("file")]) {
    expect(errorOf(() => seqpacket.bindPath(socket.number, path))).toMatchObject({
      code: "EADDRINUSE",
      syscall: "bind",
      path,
    });
  }
});

test("bindPath() and connectPath() take 107 bytes and count bytes, not characters", () => {
  using directory = new SocketDirectory();
  const room = 107 - `${directory.path}/`.length;
  const path = directory.file("ä".repeat(room >> 1) + "x".repeat(room & 1));
  expect(new TextEncoder().encode(path).length).toBe(107);
  using listener = listenAt(path);
  using client = OwnedFd.adopt(seqpacket.openSeqpacket());
  seqpacket.connectPath(client.number, path);
  OwnedFd.adopt(seqpacket.acceptConnection(listener.number)).close();
});

test.each([
  ["an empty path", "", "it is empty"],
  ["a NUL byte", "/tmp/a\0b", "it holds a NUL byte"],
  ["an abstract address", "\0bus", "it holds a NUL byte"],
  ["a lone surrogate", "/tmp/\ud800", "it is not well-formed Unicode"],
  ["108 bytes", `/${"a".repeat(107)}`, "it is 108 bytes, limit is 107"],
  ["108 bytes in fewer characters", `/a${"ä".repeat(53)}`, "it is 108 bytes, limit is 107"],
])("bindPath() and connectPath() refuse %s", (_name, path, problem) => {
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  for (const use of [seqpacket.bindPath, seqpacket.connectPath]) {
    const error = errorOf(() => use(socket.number, path));
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error).toMatchObject({ code: "ARGUMENT_SOCKET_PATH", argument: "path" });
    expect(String(error)).toContain(problem);
  }
});

test("listen() throws SyscallError on a socket that is not bound", () => {
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  expect(errorOf(() => seqpacket.listen(socket.number, 1))).toMatchObject({ code: "EINVAL" });
});

test("a bound socket takes no client before listen(), so its mode can be set first", () => {
  using directory = new SocketDirectory();
  const path = directory.file("bus");
  using listener = OwnedFd.adopt(seqpacket.openSeqpacket());
  using client = OwnedFd.adopt(seqpacket.openSeqpacket());
  seqpacket.bindPath(listener.number, path);
  chmodSync(path, 0o600);
  expect(errorOf(() => seqpacket.connectPath(client.number, path))).toMatchObject({
    code: "ECONNREFUSED",
  });
  seqpacket.listen(listener.number, 1);
  expect(() => seqpacket.connectPath(client.number, path)).not.toThrow();
});

test("acceptConnection() returns FD_TABLE_FULL, and the client waits until there is room", async () => {
  using directory = new SocketDirectory();
  const { output } = await runFixture("open-files-limit-fixture.ts", [
    "accept",
    directory.file("bus"),
  ]);
  expect(output).toEqual({ full: "FD_TABLE_FULL", afterRaising: "OK" });
});
