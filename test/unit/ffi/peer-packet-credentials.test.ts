import { expect, test } from "bun:test";
import { PacketReceiver, sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../../src/ffi/seqpacket.ts";
import { enablePacketCredentials } from "../../../src/ffi/socket-options.ts";
import { RECORD_TRUNCATED, WOULD_BLOCK } from "../../../src/ffi/syscall-result.ts";
import { SocketPair } from "./socket-pair.ts";

const packet = new PinnedBuffer(64);

/** Who sent the last packet, by what the receiver says. */
function senderOf(receiver: PacketReceiver): Record<string, number> | undefined {
  if (!receiver.hasCredentials) return undefined;
  const { credentialsPid: pid, credentialsUid: uid, credentialsGid: gid } = receiver;
  return { pid, uid, gid };
}

const OWN = {
  pid: process.pid,
  uid: process.getuid?.() as number,
  gid: process.getgid?.() as number,
};

test("a packet names its sender once enablePacketCredentials() was called, not before", () => {
  using pair = new SocketPair();
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  sendPacket(pair.near.number, packet, 0, 8);
  expect(receiver.receive(pair.far.number)).toBe(8);
  expect(senderOf(receiver)).toBeUndefined();
  enablePacketCredentials(pair.far.number);
  sendPacket(pair.near.number, packet, 0, 16);
  expect(receiver.receive(pair.far.number)).toBe(16);
  expect(senderOf(receiver)).toEqual(OWN);
});

test("credentials of one packet do not stay for the next, nor for another socket", () => {
  using named = new SocketPair();
  using unnamed = new SocketPair();
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  enablePacketCredentials(named.far.number);
  sendPacket(named.near.number, packet, 0, 8);
  sendPacket(unnamed.near.number, packet, 0, 8);
  receiver.receive(named.far.number);
  expect(receiver.hasCredentials).toBe(true);
  expect(receiver.receive(unnamed.far.number)).toBe(8);
  expect(receiver.hasCredentials).toBe(false);
  sendPacket(named.near.number, packet, 0, 8);
  receiver.receive(named.far.number);
  expect(receiver.hasCredentials).toBe(true);
  expect(receiver.receive(named.far.number)).toBe(WOULD_BLOCK);
  expect(receiver.hasCredentials).toBe(false);
});

test("a packet that was sent before enablePacketCredentials() names pid 0, never its sender", () => {
  using pair = new SocketPair();
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  sendPacket(pair.near.number, packet, 0, 8);
  enablePacketCredentials(pair.far.number);
  expect(receiver.receive(pair.far.number)).toBe(8);
  expect(senderOf(receiver)?.["pid"] ?? 0).toBe(0);
});

test("credentials and fds come with the same packet", () => {
  using pair = new SocketPair();
  using file = OwnedFd.adopt(createMemfd("beside credentials"));
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  enablePacketCredentials(pair.far.number);
  sendPacketWithFds(pair.near.number, packet, 0, 8, [file.number, file.number]);
  expect(receiver.receive(pair.far.number)).toBe(8);
  expect(senderOf(receiver)).toEqual(OWN);
  expect(receiver.closeFds()).toBe(2);
});

test("a packet too long for the receiver still names its sender", () => {
  using pair = new SocketPair();
  const receiver = new PacketReceiver(new PinnedBuffer(64), 8);
  enablePacketCredentials(pair.far.number);
  sendPacket(pair.near.number, packet, 0, 16);
  expect(receiver.receive(pair.far.number)).toBe(RECORD_TRUNCATED);
  expect(senderOf(receiver)).toEqual(OWN);
});

test("enablePacketCredentials() throws ENOTSOCK for an fd that is no socket", () => {
  using file = OwnedFd.adopt(createMemfd("no socket"));
  expect(() => enablePacketCredentials(file.number)).toThrow(
    /^Cannot setsockopt SO_PASSCRED fd \d+: ENOTSOCK/,
  );
});
