import { describe, expect, test } from "bun:test";
import { FdBundle } from "../../../src/broker/fd-bundle.ts";
import { BACKLOG_PACKETS_MAX } from "../../../src/broker/limits.ts";
import { PacketPool, QueuedPacket } from "../../../src/broker/packet-pool.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { PACKET_BYTES_MAX } from "../../../src/protocol/limits.ts";

describe("PacketPool", () => {
  test("gives a released packet out again, empty", () => {
    const pool = new PacketPool();
    const first = pool.acquire(false);
    if (first === undefined) throw new Error("The pool is empty");
    first.bytes = 64;
    pool.release(first);
    const second = pool.acquire(true);
    expect(second).toBe(first);
    expect(second).toMatchObject({ bytes: 0, isBacklog: true, room: PACKET_BYTES_MAX });
  });

  test("lets fds go that a released packet still has", () => {
    const closed: number[] = [];
    const packet = new QueuedPacket(new PinnedBuffer(16));
    packet.bundle = new FdBundle([7], (fd) => void closed.push(fd));
    new PacketPool().release(packet);
    expect(closed).toEqual([7]);
    expect(packet.bundle).toBeUndefined();
  });

  test("does not hand out a small packet as a full one", () => {
    const pool = new PacketPool();
    pool.release(new QueuedPacket(new PinnedBuffer(16)));
    expect(pool.acquire(false)?.room).toBe(PACKET_BYTES_MAX);
  });

  test("stops at BACKLOG_PACKETS_MAX for those who have packets already, and for no others", () => {
    const pool = new PacketPool();
    const held: QueuedPacket[] = [];
    for (let count = 0; count < BACKLOG_PACKETS_MAX; count += 1) {
      const packet = pool.acquire(true);
      if (packet !== undefined) held.push(packet);
    }
    expect(pool.backlogPackets).toBe(BACKLOG_PACKETS_MAX);
    expect(pool.acquire(true)).toBeUndefined();
    expect(pool.acquire(false)).toBeDefined();
    for (const packet of held) pool.release(packet);
    expect(pool.backlogPackets).toBe(0);
    expect(pool.acquire(true)).toBeDefined();
  });
});
