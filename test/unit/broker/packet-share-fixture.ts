/** Packets for tests of a send queue that is nobody's in particular. */

import { Quotas } from "../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../src/broker/quotas/quota-limits.ts";
import { PacketPool, type PacketShare } from "../../../src/broker/sending/packet-pool.ts";

/** The share of one connection, alone in its pool. */
export function openShare(pool: PacketPool = new PacketPool()): PacketShare {
  return pool.open(new Quotas(() => QUOTA_DEFAULTS).open(0));
}
