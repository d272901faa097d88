/**
 * A limit that was reached: which resource, how much of it, and whose, in numbers and in words. The
 * same words stand in errors and in the log. Whether something is too much is decided elsewhere.
 */

import { type ConnectionQuota, RESOURCE, type ResourceName } from "./quota.ts";

/** What would have been too much. */
export interface Excess {
  readonly resource: ResourceName;
  /** How much there may be. */
  readonly limit: number;
  /** How much there is. */
  readonly actual: number;
  /** Whose limit it is; undefined where it is the broker's, of all users together. */
  readonly uid?: number | undefined;
  /** The limit is that of one connection: half of what its siblings leave free. */
  readonly isShare?: boolean | undefined;
}

/** Resources as people read them. */
const WORDS: { readonly [R in ResourceName]: string } = {
  connections: "connections",
  subscriptions: "subscriptions",
  topics: "topics",
  queuedBytes: "queued bytes",
  retainedBytes: "retained bytes",
  fds: "fds",
  pendingCalls: "pending calls",
};

/** What a connection that was refused a charge() holds, and may. */
export function excessOf(quota: ConnectionQuota, resource: ResourceName): Excess {
  const { user } = quota;
  const place = RESOURCE[resource];
  const ofUser = user.used(place);
  const userLimit = user.limit(place);
  if (ofUser >= userLimit) return { resource, actual: ofUser, limit: userLimit, uid: user.uid };
  const actual = quota.used(place);
  return { resource, actual, limit: quota.limit(place), uid: user.uid, isShare: true };
}

/** `topics: 8192 of 8192 of one connection of uid 1000` */
export function excessWords({ resource, actual, limit, uid, isShare }: Excess): string {
  const ofUser = uid === undefined ? "in the whole broker" : `of uid ${uid}`;
  const whose = isShare === true ? `of one connection ${ofUser}` : ofUser;
  return `${WORDS[resource]}: ${actual} of ${limit} ${whose}`;
}
