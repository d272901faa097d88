/**
 * A limit that was reached: which resource, how much of it, and whose, in numbers and in words. The
 * same words stand in errors and in the log. Whether something is too much is decided elsewhere.
 */

import { type ConnectionQuota, RESOURCE, type ResourceName } from "./quota.ts";

/** The figures that every LIMIT_ code is told with; docs/errors.md says what each code counts. */
export interface LimitFigures {
  /** How much there may be. */
  readonly limit: number;
  /** How much there is; where more than one is asked for, how much it would be. */
  readonly actual: number;
}

/** What would have been too much. */
export interface Excess extends LimitFigures {
  readonly resource: ResourceName;
  /** Whose limit it is; undefined where it is the broker's, of all users together. */
  readonly uid?: number | undefined;
  /** The limit is that of one connection: what its siblings leave to it. */
  readonly share?: Share | undefined;
  /** How many of them administrators have beyond the limit. */
  readonly extras?: number | undefined;
}

/** Why the limit of one connection is what it is. */
export interface Share {
  /** What the other connections of its user hold. */
  readonly siblings: number;
  /** What they all may hold together. */
  readonly limitOfUser: number;
}

/** Resources as people read them. */
const WORDS: { readonly [R in ResourceName]: string } = {
  connections: "connections",
  subscriptions: "subscriptions",
  groups: "queue groups",
  topics: "topics",
  services: "services",
  queuedBytes: "queued bytes",
  retained: "last values",
  retainedBytes: "retained bytes",
  fds: "fds",
  pendingCalls: "pending calls",
};

/**
 * What a connection that was refused a charge() holds, and may.
 * @param more what it asked for, where that is not just one; it counts as held
 */
export function excessOf(quota: ConnectionQuota, resource: ResourceName, more = 0): Excess {
  const { user } = quota;
  const place = RESOURCE[resource];
  const ofUser = user.used(place);
  const limitOfUser = user.limit(place);
  const { uid } = user;
  if (ofUser >= limitOfUser) return { resource, actual: ofUser + more, limit: limitOfUser, uid };
  const own = quota.used(place);
  const share = { siblings: ofUser - own, limitOfUser };
  return { resource, actual: own + more, limit: quota.limit(place), uid, share };
}

/**
 * `topics: 8192 of 8192 of one connection of uid 1000`. A connection may hold more than its share,
 * where others came to hold something since: it is said what these hold.
 */
export function excessWords({ resource, actual, limit, uid, share, extras = 0 }: Excess): string {
  const beyond = extras === 0 ? "" : `, ${extras} of them beyond it as an administrator`;
  const figures = `${WORDS[resource]}: ${actual} of ${limit}`;
  if (uid === undefined) return `${figures} in the whole broker${beyond}`;
  if (share === undefined) return `${figures} of uid ${uid}${beyond}`;
  const words = `${figures} of one connection of uid ${uid}`;
  const { siblings, limitOfUser } = share;
  return siblings === 0 ? words : `${words}, whose others hold ${siblings} of ${limitOfUser}`;
}
