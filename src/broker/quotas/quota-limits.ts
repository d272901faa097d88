/**
 * How much each uid may hold: the defaults, in one table, and what a policy says in their place.
 * Counting is quota.ts's. docs/policy.md shows the same table; a test compares them.
 */

import { assert } from "../../assert.ts";
import { LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import { FD_TTL_MS } from "../fds/limits.ts";
import { CONNECTIONS_PER_UID_MAX } from "../limits.ts";
import { isInRanges, type LimitValues, type PolicyLimits } from "../policy/rules.ts";
import { STALL_LIMIT_MS } from "../reading/limits.ts";
import { RETAINED_PER_UID_MAX } from "../retained/limits.ts";
import { SUBSCRIPTIONS_PER_CONNECTION_MAX, TOPICS_PER_CONNECTION_MAX } from "../routing/limits.ts";
import { QUEUED_BYTES_PER_UID_MAX } from "../sending/limits.ts";
import { SERVICES_PER_CONNECTION_MAX } from "../services/limits.ts";
import type { Limits, LimitsOfUid } from "./quota.ts";

/**
 * What one uid may hold where the policy says nothing. One connection alone gets half of it.
 *
 * groups: two for each of its connections, if it has so many.
 * fds: two connections may each have two full messages to 16 subscribers on their way.
 */
export const QUOTA_DEFAULTS: Limits = {
  connections: CONNECTIONS_PER_UID_MAX,
  subscriptions: 2 * SUBSCRIPTIONS_PER_CONNECTION_MAX,
  groups: 2 * CONNECTIONS_PER_UID_MAX,
  topics: 2 * TOPICS_PER_CONNECTION_MAX,
  services: 2 * SERVICES_PER_CONNECTION_MAX,
  queuedBytes: QUEUED_BYTES_PER_UID_MAX,
  retained: RETAINED_PER_UID_MAX,
  retainedBytes: 4 * LARGE_BODY_BYTES_MAX,
  fds: 16_384,
  pendingCalls: 16_384,
  messageBytes: LARGE_BODY_BYTES_MAX,
  fdTtlMs: FD_TTL_MS,
  stallMs: STALL_LIMIT_MS,
};

/** Each limit as `[limits]` of a policy file spells it. */
export const LIMIT_KEY_OF: { readonly [R in keyof Limits]: keyof LimitValues } = {
  connections: "connections",
  subscriptions: "subscriptions",
  groups: "groups",
  topics: "topics",
  services: "services",
  queuedBytes: "queued-bytes",
  retained: "retained",
  retainedBytes: "retained-bytes",
  fds: "fds",
  pendingCalls: "pending-calls",
  messageBytes: "message-bytes",
  fdTtlMs: "fd-ttl-ms",
  stallMs: "stall-ms",
};

/**
 * At most this share of the files that the broker may open stands for the default `fds` of one uid:
 * the kernel counts fds on their way against the broker's own user, and others need room too.
 */
export const FDS_SHARE = 4;

/** The defaults of a broker that may open so many files. @param fdTtlMs default: FD_TTL_MS */
export function quotaDefaults(openFilesMax: number, fdTtlMs = QUOTA_DEFAULTS.fdTtlMs): Limits {
  assert(openFilesMax > 0, "a broker may open files");
  const fds = Math.min(QUOTA_DEFAULTS.fds, Math.floor(openFilesMax / FDS_SHARE));
  return { ...QUOTA_DEFAULTS, fds, fdTtlMs };
}

/** Limits by uid: of its `[[limits.user]]`, else of `[limits]`, else the default. */
export function limitsOfPolicy({ defaults, overrides }: PolicyLimits, base: Limits): LimitsOfUid {
  const general = merge(base, defaults);
  return (uid) => {
    const override = overrides.find(({ uids }) => isInRanges(uids, uid));
    return override === undefined ? general : merge(general, override.values);
  };
}

function merge(base: Limits, values: LimitValues): Limits {
  const names = Object.keys(LIMIT_KEY_OF) as (keyof Limits)[];
  const merged = names.map((name) => [name, values[LIMIT_KEY_OF[name]] ?? base[name]] as const);
  return Object.fromEntries(merged) as Limits;
}
