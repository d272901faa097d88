/** Packets for tests of a send queue that is nobody's in particular. */

import { Quotas, RESOURCE } from "../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../src/broker/quotas/quota-limits.ts";
import { PacketPool, type PacketShare } from "../../../src/broker/sending/packet-pool.ts";

/** The share of one connection, alone in its pool. */
export function openShare(pool: PacketPool = new PacketPool()): PacketShare {
  return pool.open(new Quotas(() => QUOTA_DEFAULTS).open(0));
}

/** The share of one connection beside a sibling of the same uid, who may take of it. */
export interface SharedQuota {
  readonly pool: PacketPool;
  readonly share: PacketShare;
  /** What the sibling's packets take from now on. */
  holdBySibling(bytes: number): void;
}

/** @param queuedBytes what the uid of both may hold */
export function shareWithSibling(queuedBytes: number): SharedQuota {
  const quotas = new Quotas(() => ({ ...QUOTA_DEFAULTS, queuedBytes }));
  const pool = new PacketPool();
  const share = pool.open(quotas.open(0));
  const sibling = quotas.open(0);
  return {
    pool,
    share,
    holdBySibling: (bytes) => {
      sibling.release(RESOURCE.queuedBytes, sibling.used(RESOURCE.queuedBytes));
      sibling.impose(RESOURCE.queuedBytes, bytes);
    },
  };
}
