import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FdBundle } from "../../../../src/broker/fds/fd-bundle.ts";
import { type ConnectionQuota, Quotas, RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import {
  BACKLOG_BYTES_MAX,
  QUEUED_BYTES_PER_UID_MAX,
  SEND_QUEUE_CONTROL_BYTES_MAX,
} from "../../../../src/broker/sending/limits.ts";
import {
  PacketPool,
  type PacketShare,
  QueuedPacket,
} from "../../../../src/broker/sending/packet-pool.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { PACKET_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import { openShare } from "../packet-share-fixture.ts";

/** Of the other uid, and of the greedy one. */
const ALICE = 1000;
const MALLORY = 6666;

/** One queue that takes all it gets, up to `packetsMax`. */
function fill(share: PacketShare, packetsMax = Number.POSITIVE_INFINITY): QueuedPacket[] {
  const held: QueuedPacket[] = [];
  while (held.length < packetsMax) {
    const packet = share.acquire(true);
    if (packet === undefined) break;
    held.push(packet);
  }
  return held;
}

/** A pool whose packets are counted and never filled, for users of these limits. */
function openBench(
  queuedBytes = QUEUED_BYTES_PER_UID_MAX,
  connections = QUOTA_DEFAULTS.connections,
) {
  const pool = new PacketPool();
  const quotas = new Quotas(() => ({ ...QUOTA_DEFAULTS, queuedBytes, connections }));
  const open = (uid: number) => {
    const quota = quotas.open(uid);
    return { quota, share: pool.open(quota) };
  };
  return { pool, quotas, open };
}

/** A connection that takes packets and gives them back. */
class Owner {
  readonly quota: ConnectionQuota;
  readonly #share: PacketShare;
  readonly #held: QueuedPacket[] = [];

  constructor({ quota, share }: { quota: ConnectionQuota; share: PacketShare }) {
    this.quota = quota;
    this.#share = share;
  }

  get bytes(): number {
    return this.#held.reduce((total, { chargedBytes }) => total + chargedBytes, 0);
  }

  /** Takes a packet of a size of its own, or for an even number one of the pool. */
  take(bytes: number): void {
    const isSized = bytes % 2 === 1;
    const packet = isSized ? this.#share.acquireSized(bytes, true) : this.#share.acquire(true);
    if (packet !== undefined) this.#held.push(packet);
  }

  release(): void {
    const packet = this.#held.pop();
    if (packet !== undefined) this.#share.release(packet);
  }
}

describe("PacketShare", () => {
  test("gives a released packet out again, empty", () => {
    const share = openShare();
    const first = share.acquire(false);
    if (first === undefined) throw new Error("The share is empty");
    first.bytes = 64;
    share.release(first);
    const second = share.acquire(true);
    expect(second).toBe(first);
    expect(second).toMatchObject({ bytes: 0, chargedBytes: PACKET_BYTES_MAX });
    expect(second?.room).toBe(PACKET_BYTES_MAX);
  });

  test("lets fds go that a released packet still has", () => {
    const closed: number[] = [];
    const packet = new QueuedPacket(new PinnedBuffer(16));
    packet.bundle = new FdBundle([7], (fd) => void closed.push(fd));
    openShare().release(packet);
    expect(closed).toEqual([7]);
    expect(packet.bundle).toBeUndefined();
  });

  test("does not hand out a small packet as a full one", () => {
    const share = openShare();
    share.release(new QueuedPacket(new PinnedBuffer(16)));
    expect(share.acquire(false)?.room).toBe(PACKET_BYTES_MAX);
  });

  test("charges nothing for the first packet of a queue", () => {
    const { pool, open } = openBench(0);
    const { share, quota } = open(ALICE);
    expect(share.acquire(false)).toBeDefined();
    expect(share.acquireSized(64, false)).toBeDefined();
    expect(share.acquire(true)).toBeUndefined();
    expect([pool.backlogBytes, quota.used(RESOURCE.queuedBytes)]).toEqual([0, 0]);
  });

  test("charges a packet of a size of its own with that size, and gives it back", () => {
    const { pool, open } = openBench();
    const { share, quota } = open(ALICE);
    const packet = share.acquireSized(64, true);
    if (packet === undefined) throw new Error("The share is empty");
    expect([pool.backlogBytes, quota.used(RESOURCE.queuedBytes)]).toEqual([64, 64]);
    packet.buffer = new PinnedBuffer(16);
    share.release(packet);
    expect([pool.backlogBytes, quota.used(RESOURCE.queuedBytes)]).toEqual([0, 0]);
  });

  test.each([64, 504, 4_096])(
    "has a packet for each of 512 siblings that take all they can, of %d connections",
    (connections) => {
      const { open } = openBench(QUEUED_BYTES_PER_UID_MAX, connections);
      const taken = Array.from({ length: Math.min(512, connections) }, () =>
        fill(open(ALICE).share),
      );
      expect(Math.min(...taken.map(({ length }) => length))).toBeGreaterThanOrEqual(1);
      expect(taken.flat().length * PACKET_BYTES_MAX).toBeLessThanOrEqual(QUEUED_BYTES_PER_UID_MAX);
    },
  );

  test("leaves nothing unused of a small quota that its siblings fill", () => {
    const { quotas, open } = openBench(16 * PACKET_BYTES_MAX);
    const taken = Array.from({ length: 8 }, () => fill(open(ALICE).share).length);
    expect(taken).toEqual([8, 3, 2, 1, 1, 1, 0, 0]);
    expect(quotas.user(ALICE).used(RESOURCE.queuedBytes)).toBe(16 * PACKET_BYTES_MAX);
  });

  test("has a reserve for control frames alone, which does not grow", () => {
    const { pool, open } = openBench(0);
    const { share } = open(ALICE);
    const reserve: QueuedPacket[] = [];
    for (let packet = share.acquireControl(true); packet; packet = share.acquireControl(true)) {
      reserve.push(packet);
    }
    expect(reserve.length * PACKET_BYTES_MAX).toBe(SEND_QUEUE_CONTROL_BYTES_MAX);
    expect(pool.backlogBytes).toBe(0);
    for (const packet of reserve) share.release(packet);
    expect(share.acquireControl(true)).toBeDefined();
  });
});

describe("PacketPool", () => {
  test("takes nothing from a uid, whatever a hundred stalled connections of another hold", () => {
    const { pool, quotas, open } = openBench(2 ** 24);
    const alice = open(ALICE);
    const before = fill(alice.share, 8);
    for (let count = 0; count < 100; count += 1) fill(open(MALLORY).share, 16);
    expect(quotas.user(MALLORY).used(RESOURCE.queuedBytes)).toBeLessThanOrEqual(2 ** 24);
    expect(fill(alice.share).length + before.length).toBe(2 ** 23 / PACKET_BYTES_MAX);
    expect(pool.hasRoomFor(alice.quota.user.used(RESOURCE.queuedBytes), 2 ** 24)).toBe(true);
  });

  test("leaves each further uid half of what the others leave free", () => {
    const pool = new PacketPool();
    const shares: number[] = [];
    for (let user = 0; user < 4; user += 1) {
      let held = 0;
      while (pool.hasRoomFor(held, PACKET_BYTES_MAX)) {
        held += PACKET_BYTES_MAX;
        pool.count(PACKET_BYTES_MAX);
      }
      shares.push(held / BACKLOG_BYTES_MAX);
    }
    expect(shares).toEqual([1 / 2, 1 / 4, 1 / 8, 1 / 16]);
  });

  test("counts what is held, whoever takes and releases in whatever order", () => {
    const step = fc.record({ who: fc.nat(5), takes: fc.boolean(), bytes: fc.nat(65_535) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { pool, quotas, open } = openBench(2 ** 20);
        const owners = [0, 0, 0, 1, 1, 2].map((uid) => new Owner(open(uid)));
        for (const { who, takes, bytes } of steps) {
          if (takes) owners[who]?.take(bytes);
          else owners[who]?.release();
        }
        for (const { quota, bytes } of owners) {
          expect(quota.used(RESOURCE.queuedBytes)).toBe(bytes);
          expect(bytes).toBeLessThanOrEqual(2 ** 19);
        }
        expect(pool.backlogBytes).toBe(owners.reduce((total, { bytes }) => total + bytes, 0));
        expect(quotas.user(0).used(RESOURCE.queuedBytes)).toBeLessThanOrEqual(2 ** 20);
      }),
    );
  });
});
