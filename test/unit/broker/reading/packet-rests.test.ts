import { expect, test } from "bun:test";
import { KeptFds } from "../../../../src/broker/fds/kept-fds.ts";
import { PacketRest } from "../../../../src/broker/reading/packet-rests.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";

const PACKET_BYTES = 16;

/** A packet whose fds were taken out of it. */
function packetOf(controlTruncated: boolean) {
  const buffer = new PinnedBuffer(PACKET_BYTES);
  return { buffer, receivedFdCount: 0, controlTruncated, takeFds: () => [], closeFds: () => 0 };
}

/** Keeps fds that nobody closes. */
function kept(fds: number[]): KeptFds {
  return new KeptFds(
    fds,
    () => {},
    () => {},
  );
}

test("PacketRest of a packet that came with all of its fds needs no room for them again", () => {
  const rest = new PacketRest(packetOf(false), 0, PACKET_BYTES, kept([5, 6]));
  expect(rest.isRest).toBe(true);
  expect(rest.takeFds()).toEqual([5, 6]);
});

test("PacketRest of a packet of which fds are missing is still to be refused", () => {
  const rest = new PacketRest(packetOf(true), 0, PACKET_BYTES, kept([5]));
  expect(rest.controlTruncated).toBe(true);
  expect(rest.isRest).toBe(false);
  expect(rest.receivedFdCount).toBe(1);
});

test("PacketRest of a packet without fds that was not looked at is a packet like any other", () => {
  const rest = new PacketRest(packetOf(false), 0, PACKET_BYTES, kept([]));
  expect(rest.isRest).toBe(false);
});

test("PacketRest of the second half of a packet holds that half", () => {
  const packet = packetOf(false);
  packet.buffer.bytes.fill(7, 8);
  const rest = new PacketRest(packet, 8, PACKET_BYTES, kept([]));
  expect(rest.isRest).toBe(true);
  expect(rest.buffer.bytes.toHex()).toBe("07".repeat(8));
});
