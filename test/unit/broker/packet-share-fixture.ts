/** Packets for tests of a send queue that is nobody's in particular. */

import { PacketPool, type PacketShare } from "../../../src/broker/packet-pool.ts";
import { Quotas } from "../../../src/broker/quota.ts";
import { QUOTA_DEFAULTS } from "../../../src/broker/quota-limits.ts";

/** The share of one connection, alone in its pool. */
export function openShare(pool: PacketPool = new PacketPool()): PacketShare {
  return pool.open(new Quotas(() => QUOTA_DEFAULTS).open(0));
}
