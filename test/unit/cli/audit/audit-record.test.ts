import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BrokerEvent } from "../../../../src/broker/events.ts";
import type { PeerIdentity } from "../../../../src/broker/identity/identity.ts";
import { type AuditRecord, auditRecord } from "../../../../src/cli/audit/audit-record.ts";

const IDENTITY: PeerIdentity = {
  uid: 1000,
  gid: 100,
  pid: 4242,
  groups: [10, 20],
  unit: "app.service",
  exe: "/usr/bin/app",
  cgroup: "/system.slice/app.service",
  slice: "system.slice",
};
const WHO = {
  connection: 7,
  uid: 1000,
  gid: 100,
  pid: 4242,
  unit: "app.service",
  exe: "/usr/bin/app",
};
const CLIENT = { connection: 7, identity: IDENTITY };
const SERVER: PeerIdentity = { ...IDENTITY, uid: 2000, pid: 999 };
const LIMITED = { topic: "a.b", code: "LIMIT_TOPICS", limit: 8, actual: 8 } as const;
const USE = { action: "publish", topic: "sensors.a", rule: "no-lies" };

/** One of each type of event, and what the log says. */
const CASES: Record<BrokerEvent["type"], [BrokerEvent, AuditRecord]> = {
  listening: [
    { type: "listening", path: "/run/bus.sock", policy: "/etc/policy.toml" },
    info({ event: "started", socket: "/run/bus.sock", policy: "/etc/policy.toml" }),
  ],
  connected: [
    { type: "connected", ...CLIENT },
    info({ event: "connected", ...WHO, groups: [10, 20] }),
  ],
  disconnected: [
    { type: "disconnected", ...CLIENT, code: undefined, message: undefined, lost: 3 },
    info({ event: "disconnected", ...WHO, count: 3 }),
  ],
  denied: [{ type: "denied", ...CLIENT, ...USE }, warn({ event: "denied", ...WHO, ...USE })],
  "would-deny": [
    { type: "would-deny", ...CLIENT, ...USE, count: 7 },
    warn({ event: "would-deny", ...WHO, ...USE, count: 7 }),
  ],
  revoked: [{ type: "revoked", ...CLIENT, ...USE }, warn({ event: "revoked", ...WHO, ...USE })],
  "service-owner": [
    { type: "service-owner", ...CLIENT, topic: "a.b", isOwner: true, generation: 5 },
    info({ event: "serving", ...WHO, topic: "a.b", generation: 5 }),
  ],
  "channel-opened": [
    { type: "channel-opened", ...CLIENT, topic: "a.b", server: 8, serverIdentity: SERVER },
    info({
      event: "channel-opened",
      ...WHO,
      topic: "a.b",
      server: 8,
      serverUid: 2000,
      serverPid: 999,
    }),
  ],
  "fds-refused": [
    { type: "fds-refused", ...CLIENT, kind: "tty", topic: "a", rule: "policy.toml:3" },
    warn({ event: "fds-refused", ...WHO, kind: "tty", topic: "a", rule: "policy.toml:3" }),
  ],
  "fds-undelivered": [
    { type: "fds-undelivered", ...CLIENT, reason: "expired", fds: 3 },
    warn({ event: "fds-undelivered", ...WHO, reason: "expired", fds: 3 }),
  ],
  "body-refused": [
    { type: "body-refused", ...CLIENT, topic: "a.b", code: "REJECTED_LARGE_BODY" },
    warn({ event: "body-refused", ...WHO, topic: "a.b", code: "REJECTED_LARGE_BODY" }),
  ],
  limited: [
    { type: "limited", ...CLIENT, ...LIMITED, message: "topics: 8 of 8 of uid 1000" },
    warn({ event: "limited", ...WHO, ...LIMITED }, "topics: 8 of 8 of uid 1000"),
  ],
  "retain-refused": [
    { type: "retain-refused", ...CLIENT, topic: "a.b", code: "REJECTED_RETAIN", rule: "p.toml:3" },
    warn({
      event: "retain-refused",
      ...WHO,
      topic: "a.b",
      code: "REJECTED_RETAIN",
      rule: "p.toml:3",
    }),
  ],
  "fd-close-stuck": [
    { type: "fd-close-stuck", uid: 1000, count: 3 },
    warn({ event: "fd-close-stuck", uid: 1000, count: 3 }),
  ],
  "turned-away": [
    { type: "turned-away", uid: 1000, code: "LIMIT_CONNECTIONS", message: "too often" },
    warn({ event: "turned-away", uid: 1000, code: "LIMIT_CONNECTIONS" }, "too often"),
  ],
  "policy-loaded": [
    { type: "policy-loaded", policy: "/etc/policy.toml", rules: 3 },
    info({ event: "policy-loaded", policy: "/etc/policy.toml", rules: 3 }),
  ],
  "policy-refused": [
    { type: "policy-refused", message: "policy.toml:1:1: no" },
    warn({ event: "policy-refused" }, "policy.toml:1:1: no"),
  ],
  "accept-paused": [
    { type: "accept-paused", reason: "no fds" },
    warn({ event: "accept-paused" }, "no fds"),
  ],
  stopped: [
    { type: "stopped", path: "/run/bus.sock" },
    info({ event: "stopped", socket: "/run/bus.sock" }),
  ],
};

function info(fields: AuditRecord["fields"]): AuditRecord {
  return { level: "info", fields };
}

function warn(fields: AuditRecord["fields"], message?: string): AuditRecord {
  return { level: "warn", fields, message };
}

test.each(Object.values(CASES))("auditRecord() of $type", (event, record) => {
  expect(auditRecord(event)).toEqual(record);
});

test("auditRecord() calls it serving-ended where a client serves no more", () => {
  const change = { topic: "a.b", isOwner: false, generation: 6 } as const;
  expect(auditRecord({ type: "service-owner", ...CLIENT, ...change })).toEqual(
    info({ event: "serving-ended", ...WHO, topic: "a.b", generation: 6 }),
  );
});

test("auditRecord() names no kind where fds were refused for want of room", () => {
  expect(auditRecord({ type: "fds-refused", ...CLIENT })).toEqual(
    warn({ event: "fds-refused", ...WHO }),
  );
});

test("auditRecord() takes a disconnect with a code for an eviction, and says its figures", () => {
  const cause = { code: "LIMIT_CONTROL_QUEUE", limit: 8, actual: 9 } as const;
  const message = "it does not read";
  expect(auditRecord({ type: "disconnected", ...CLIENT, ...cause, message, lost: 0 })).toEqual(
    warn({ event: "evicted", ...WHO, ...cause }, message),
  );
});

test.each([
  { type: "fds-refused", code: "LIMIT_QUEUED_FDS" },
  { type: "body-refused", code: "LIMIT_MESSAGE_BYTES" },
  { type: "retain-refused", code: "LIMIT_RETAINED" },
] as const)("auditRecord() of $type says the figures of $code", ({ type, code }) => {
  const about = { topic: "a.b", code, limit: 8, actual: 9 };
  const event = { type, ...CLIENT, ...about, rule: undefined };
  expect(auditRecord(event)).toEqual(warn({ event: type, ...WHO, ...about }));
});

test("auditRecord() copies no field that it does not know, such as a payload", () => {
  const payload = { data: "a secret", body: "a secret" };
  for (const [event] of Object.values(CASES)) {
    const identity = { ...IDENTITY, ...payload };
    const record = auditRecord({ ...event, ...payload, identity } as BrokerEvent);
    expect(JSON.stringify(record)).not.toContain("a secret");
  }
});

test("docs/audit.md has every event and field", () => {
  const text = readFileSync(join(import.meta.dir, "../../../../docs/audit.md"), "utf8");
  const rows = [...text.matchAll(/^\| `([a-z-]+)` \|/gim)].map(([, name]) => name);
  const records = Object.values(CASES).map(([, record]) => record);
  const others = ["evicted", "suppressed", "serving-ended"];
  const events = [...records.map(({ fields }) => fields.event), ...others];
  const figures = ["suppressed", "suppressedOthers", "dropped"];
  const fields = records.flatMap(({ fields: each }) => Object.keys(each));
  const names = ["level", "time", "message", "code", ...figures, ...fields, ...events];
  expect(new Set(rows)).toEqual(new Set(names));
});
