import { describe, expect, test } from "bun:test";
import type { PeerIdentity } from "../../../../src/broker/identity/identity.ts";
import { equalIdentities, IdentityPool } from "../../../../src/broker/identity/identity-pool.ts";
import { POOLED_IDENTITIES_MAX } from "../../../../src/broker/identity/limits.ts";

const SENSOR: PeerIdentity = {
  uid: 1000,
  gid: 100,
  pid: 42,
  groups: [4, 27],
  label: "sensor (enforce)",
  unmapped: false,
  cgroup: "/system.slice/sensord.service",
  unit: "sensord.service",
  slice: "system.slice",
  container: undefined,
  exe: "/usr/bin/sensord",
};

const OTHERS: readonly Partial<PeerIdentity>[] = [
  { uid: 0 },
  { gid: 0 },
  { pid: 43 },
  { groups: [4] },
  { groups: [4, 27, 30] },
  { groups: [27, 4] },
  { label: undefined },
  { unmapped: true },
  { cgroup: "/system.slice" },
  { unit: undefined },
  { slice: "user.slice" },
  { container: "web" },
  { exe: "/usr/bin/other" },
];

describe("equalIdentities()", () => {
  test("holds for two that say the same", () => {
    expect(equalIdentities(SENSOR, structuredClone(SENSOR))).toBe(true);
  });

  test.each(OTHERS)("does not hold where one field differs: %p", (field) => {
    expect(equalIdentities(SENSOR, { ...SENSOR, ...field })).toBe(false);
  });
});

describe("IdentityPool", () => {
  test("intern() gives the first of equal identities for all later ones", () => {
    const pool = new IdentityPool();
    expect(pool.intern(SENSOR)).toBe(SENSOR);
    expect(pool.intern(structuredClone(SENSOR))).toBe(SENSOR);
  });

  test("intern() gives an identity itself where the pid has come to mean another process", () => {
    const pool = new IdentityPool();
    pool.intern(SENSOR);
    const next = { ...SENSOR, exe: "/usr/bin/other" };
    expect(pool.intern(next)).toBe(next);
    const again = structuredClone(SENSOR);
    expect(pool.intern(again)).toBe(again);
  });

  test("intern() forgets the process that came first once there are POOLED_IDENTITIES_MAX", () => {
    const pool = new IdentityPool();
    pool.intern(SENSOR);
    for (let pid = 1000; pid < 1000 + POOLED_IDENTITIES_MAX; pid += 1) {
      pool.intern({ ...SENSOR, pid });
    }
    const again = structuredClone(SENSOR);
    expect(pool.intern(again)).toBe(again);
  });
});
