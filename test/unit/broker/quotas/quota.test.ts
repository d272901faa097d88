import { describe, expect, test } from "bun:test";
import { LIMIT_KEYS, type PolicyLimits } from "../../../../src/broker/policy/rules.ts";
import {
  type ConnectionQuota,
  type Limits,
  Quotas,
  RESOURCE,
} from "../../../../src/broker/quotas/quota.ts";
import {
  LIMIT_KEY_OF,
  limitsOfPolicy,
  QUOTA_DEFAULTS,
  quotaDefaults,
} from "../../../../src/broker/quotas/quota-limits.ts";
import { CHANNEL_FDS } from "../../../../src/protocol/limits.ts";

const { fds, topics } = RESOURCE;
const UID = 1000;

function limits(changed: Partial<Limits>): Limits {
  return { ...QUOTA_DEFAULTS, ...changed };
}

function take(quota: ConnectionQuota): number {
  let taken = 0;
  while (quota.charge(fds, 1)) taken += 1;
  return taken;
}

describe("Quotas.find()", () => {
  test("knows a uid for as long as it holds something or has a connection, and makes no account", () => {
    const quotas = new Quotas(() => limits({}));
    expect(quotas.find(UID)).toBeUndefined();
    const connection = quotas.open(UID);
    connection.charge(RESOURCE.retained, 1);
    connection.close();
    expect(quotas.find(UID)?.used(RESOURCE.retained)).toBe(1);
    connection.release(RESOURCE.retained, 1);
    expect(quotas.find(UID)).toBeUndefined();
    expect([...quotas.users()]).toEqual([]);
  });
});

describe("ConnectionQuota.charge()", () => {
  test("gives one connection half of what its uid may hold", () => {
    const quota = new Quotas(() => limits({ fds: 16 })).open(UID);
    expect(quota.limit(fds)).toBe(8);
    expect(quota.charge(fds, 9)).toBe(false);
    expect(quota.used(fds)).toBe(0);
    expect(quota.charge(fds, 8)).toBe(true);
    expect(quota.charge(fds, 1)).toBe(false);
    expect(quota.used(fds)).toBe(8);
  });

  test("leaves a share to every sibling, however greedy those before it were", () => {
    const quotas = new Quotas(() => limits({ fds: 96 }));
    const siblings = [1, 2, 3, 4, 5, 6].map(() => quotas.open(UID));
    expect(siblings.map(take)).toEqual([48, 18, 9, 6, 4, 4]);
    expect(quotas.user(UID).used(fds)).toBe(89);
  });

  test("leaves enough for a channel after a hundred siblings that take all they can", () => {
    const quotas = new Quotas(() => QUOTA_DEFAULTS);
    for (let count = 0; count < 100; count += 1) take(quotas.open(UID));
    expect(quotas.open(UID).charge(fds, 2 * CHANNEL_FDS)).toBe(true);
  });

  test("leaves single ones where a quarter of the limit is less than a channel needs", () => {
    const quotas = new Quotas(() => limits({ fds: 12 }));
    expect([1, 2, 3, 4].map(() => take(quotas.open(UID)))).toEqual([6, 2, 2, 1]);
  });

  test("keeps a quarter for shares, which a raised limit raises", () => {
    let changed: Partial<Limits> = { fds: 480, connections: 4 };
    const quotas = new Quotas(() => limits(changed));
    const siblings = Array.from({ length: 12 }, () => quotas.open(UID));
    // Twelve connections, eight of which may be administrators'.
    const taken = siblings.map(take);
    expect(taken.slice(0, 3)).toEqual([240, 86, 36]);
    expect(Math.min(...taken)).toBe(10);
    expect(quotas.user(UID).used(fds)).toBeLessThanOrEqual(480);
    changed = { fds: 960, connections: 4 };
    quotas.replaceLimits(() => limits(changed));
    expect(siblings.map(take).at(-1)).toBe(10);
    expect(siblings.at(-1)?.used(fds)).toBe(20);
  });

  test("takes nothing from another uid", () => {
    const quotas = new Quotas(() => limits({ fds: 16 }));
    for (let count = 0; count < 20; count += 1) take(quotas.open(UID));
    expect(take(quotas.open(UID + 1))).toBe(8);
  });

  test("takes nothing from another resource", () => {
    const quota = new Quotas(() => limits({ fds: 16, topics: 4 })).open(UID);
    take(quota);
    expect(quota.charge(topics, 2)).toBe(true);
    expect(quota.charge(topics, 1)).toBe(false);
  });

  test("of nothing always fits, also where nothing may be held", () => {
    const quota = new Quotas(() => limits({ fds: 0 })).open(UID);
    expect(quota.charge(fds, 0)).toBe(true);
    expect(quota.charge(fds, 1)).toBe(false);
  });

  test("fits again after release()", () => {
    const quota = new Quotas(() => limits({ fds: 2 })).open(UID);
    expect([quota.charge(fds, 1), quota.charge(fds, 1)]).toEqual([true, false]);
    quota.release(fds, 1);
    expect(quota.charge(fds, 1)).toBe(true);
  });
});

describe("ConnectionQuota.release()", () => {
  test("refuses more than was charged", () => {
    const quota = new Quotas(() => limits({})).open(UID);
    quota.charge(fds, 2);
    expect(() => quota.release(fds, 3)).toThrow("no more is released");
  });

  test("counts for the uid also after the connection is gone", () => {
    const quotas = new Quotas(() => limits({ fds: 64 }));
    const gone = quotas.open(UID);
    take(gone);
    gone.close();
    const next = quotas.open(UID);
    expect(next.limit(fds)).toBe(10);
    gone.release(fds, 32);
    expect(next.limit(fds)).toBe(32);
  });
});

describe("Quotas", () => {
  test("forgets a uid that has no connection and holds nothing, and none before", () => {
    const quotas = new Quotas(() => limits({}));
    const quota = quotas.open(UID);
    quota.charge(fds, 1);
    quota.charge(topics, 1);
    quota.close();
    quota.release(fds, 1);
    expect([...quotas.users()].map(({ uid }) => uid)).toEqual([UID]);
    quota.release(topics, 1);
    expect([...quotas.users()]).toEqual([]);
  });

  test("asks for the limits of a uid once, and again after replaceLimits()", () => {
    let asked = 0;
    const quotas = new Quotas(() => {
      asked += 1;
      return limits({ fds: 16 });
    });
    const quota = quotas.open(UID);
    for (let count = 0; count < 5; count += 1) quota.charge(fds, 1);
    expect(asked).toBe(1);
    quotas.replaceLimits(() => limits({ fds: 4 }));
    expect(quota.limit(fds)).toBe(2);
  });

  test("leaves what is held where the limit was lowered below it", () => {
    const quotas = new Quotas(() => limits({ fds: 16 }));
    const quota = quotas.open(UID);
    take(quota);
    quotas.replaceLimits(() => limits({ fds: 4 }));
    expect([quota.used(fds), quota.charge(fds, 1)]).toEqual([8, false]);
    quota.release(fds, 7);
    expect([quota.charge(fds, 1), quota.charge(fds, 1)]).toEqual([true, false]);
  });
});

describe("UserQuota", () => {
  test("charge() takes up to the limit of the uid, impose() beyond", () => {
    const user = new Quotas(() => limits({ connections: 2 })).user(UID);
    const { connections } = RESOURCE;
    expect([1, 2, 3].map(() => user.charge(connections, 1))).toEqual([true, true, false]);
    user.impose(connections, 5);
    expect(user.used(connections)).toBe(7);
  });

  test("impose() leaves the connections of the uid nothing where it is beyond the limit", () => {
    const quotas = new Quotas(() => limits({ fds: 16 }));
    const quota = quotas.open(UID);
    quota.user.impose(fds, 20);
    expect([quota.limit(fds), quota.charge(fds, 1)]).toEqual([0, false]);
  });
});

describe("limitsOfPolicy()", () => {
  const policy: PolicyLimits = {
    defaults: { fds: 128, "queued-bytes": 5 },
    overrides: [
      {
        path: "p.toml",
        line: 1,
        uids: [{ first: 5, last: 6 }],
        values: { fds: 7, "pending-calls": 0 },
      },
    ],
  };
  const limitsOf = limitsOfPolicy(policy, QUOTA_DEFAULTS);

  test("gives the defaults where the policy says nothing", () => {
    expect(limitsOfPolicy({ defaults: {}, overrides: [] }, QUOTA_DEFAULTS)(1)).toEqual(
      QUOTA_DEFAULTS,
    );
  });

  test("gives what [limits] says in place of a default", () => {
    expect(limitsOf(4)).toEqual(limits({ fds: 128, queuedBytes: 5 }));
  });

  test("gives what [[limits.user]] says in place of both, to root too", () => {
    expect(limitsOf(6)).toEqual(limits({ fds: 7, queuedBytes: 5, pendingCalls: 0 }));
    const root = [{ path: "p.toml", line: 1, uids: [{ first: 0, last: 0 }], values: { fds: 3 } }];
    expect(limitsOfPolicy({ defaults: {}, overrides: root }, QUOTA_DEFAULTS)(0).fds).toBe(3);
  });

  test("knows every resource by a key of its own", () => {
    const settings = ["messageBytes", "fdTtlMs", "stallMs"];
    expect(Object.keys(LIMIT_KEY_OF)).toEqual([...Object.keys(RESOURCE), ...settings]);
    expect(Object.values(LIMIT_KEY_OF)).toEqual([...LIMIT_KEYS]);
  });
});

test("quotaDefaults() leaves a broker of few files a quarter of them for one uid", () => {
  expect(quotaDefaults(1024).fds).toBe(256);
  expect(quotaDefaults(1_048_576)).toEqual(QUOTA_DEFAULTS);
});
