/**
 * What the audit log says of each event, as fields. Pure. The names of events and fields are a
 * promise (docs/audit.md): programs read them. Must never hold anything of a message's body.
 */

import type { BrokerEvent } from "../../broker/events.ts";
import type { PeerIdentity } from "../../broker/identity/identity.ts";

/** What an audit line may tell, under the field `event`. */
export type AuditEventName =
  | "started"
  | "stopped"
  | "connected"
  | "disconnected"
  | "evicted"
  | "denied"
  | "would-deny"
  | "revoked"
  | "serving"
  | "serving-ended"
  | "channel-opened"
  | "fds-refused"
  | "fds-undelivered"
  | "body-refused"
  | "limited"
  | "retain-refused"
  | "fd-close-stuck"
  | "turned-away"
  | "policy-loaded"
  | "policy-refused"
  | "accept-paused"
  | "suppressed";

/** Fields of a line, beside `level`, `time` and `message`. What is undefined is left out. */
export interface AuditFields {
  readonly event: AuditEventName;
  readonly connection?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly pid?: number | undefined;
  /** Supplementary groups; only where a client connects, since there may be thousands. */
  readonly groups?: readonly number[] | undefined;
  readonly unit?: string | undefined;
  readonly exe?: string | undefined;
  readonly action?: string | undefined;
  /** A topic name; for subscriptions a pattern. */
  readonly topic?: string | undefined;
  /** What an open file that was refused is. */
  readonly kind?: string | undefined;
  /** How many fds a client did not get. */
  readonly fds?: number | undefined;
  /** Why it did not: "refused", "unwanted" or "expired". */
  readonly reason?: string | undefined;
  /** The deciding rule, or the setting of the topic; left out where none spoke. */
  readonly rule?: string | undefined;
  /** Whom a private channel was opened to: the number of the connection, … */
  readonly server?: number | undefined;
  /** … its user, … */
  readonly serverUid?: number | undefined;
  /** … and its process. */
  readonly serverPid?: number | undefined;
  /** Of the service; grows whenever who serves it changes. */
  readonly generation?: number | undefined;
  /** Would-be denials since the broker started, with this one; or fds that are not closed. */
  readonly count?: number | undefined;
  readonly code?: string | undefined;
  /** The limit that was reached, … */
  readonly limit?: number | undefined;
  /** … and how much there was, or was asked for. */
  readonly actual?: number | undefined;
  /** The broker's socket. */
  readonly socket?: string | undefined;
  /** Path of the main policy file. */
  readonly policy?: string | undefined;
  /** How many rules the policy has. */
  readonly rules?: number | undefined;
  /** Events of this uid before this line that got none of their own. */
  readonly suppressed?: number | undefined;
  /** The same, for users that are too many to be counted one by one. */
  readonly suppressedOthers?: number | undefined;
  /** Events before this line that the log could not take. */
  readonly dropped?: number | undefined;
}

/** One line before it is written. */
export interface AuditRecord {
  readonly level: "info" | "warn";
  readonly fields: AuditFields;
  readonly message?: string | undefined;
}

/**
 * Puts an event into fields.
 * @returns level "warn" for what an administrator may want to act on
 */
export function auditRecord(event: BrokerEvent): AuditRecord {
  switch (event.type) {
    case "listening":
      return info({ event: "started", socket: event.path, policy: event.policy });
    case "stopped":
      return info({ event: "stopped", socket: event.path });
    case "connected":
      return info({ event: "connected", ...who(event), groups: event.identity.groups });
    case "disconnected":
      return disconnectedRecord(event);
    case "denied":
    case "would-deny":
    case "revoked":
      return decisionRecord(event);
    case "service-owner":
      return serviceOwnerRecord(event);
    case "channel-opened":
      return channelOpenedRecord(event);
    case "fds-refused":
      return fdsRefusedRecord(event);
    case "fds-undelivered":
      return warn({ event: event.type, ...who(event), reason: event.reason, fds: event.fds });
    case "body-refused":
      return bodyRefusedRecord(event);
    case "limited":
      return limitedRecord(event);
    case "retain-refused": {
      const { topic, code, rule, limit, actual } = event;
      return warn({ event: event.type, ...who(event), topic, code, rule, limit, actual });
    }
    case "fd-close-stuck":
      return warn({ event: event.type, uid: event.uid, count: event.count });
    case "turned-away":
      return warn({ event: event.type, uid: event.uid, code: event.code }, event.message);
    case "policy-loaded":
      return info({ event: "policy-loaded", policy: event.policy, rules: event.rules });
    case "policy-refused":
      return warn({ event: "policy-refused" }, event.message);
    case "accept-paused":
      return warn({ event: "accept-paused" }, event.reason);
  }
}

function serviceOwnerRecord(event: Extract<BrokerEvent, { type: "service-owner" }>): AuditRecord {
  const { topic, generation, isOwner } = event;
  const name = isOwner ? "serving" : "serving-ended";
  return info({ event: name, ...who(event), topic, generation });
}

function channelOpenedRecord(event: Extract<BrokerEvent, { type: "channel-opened" }>): AuditRecord {
  const { topic, server, serverIdentity } = event;
  const { uid: serverUid, pid: serverPid } = serverIdentity;
  return info({ event: event.type, ...who(event), topic, server, serverUid, serverPid });
}

function fdsRefusedRecord(event: Extract<BrokerEvent, { type: "fds-refused" }>): AuditRecord {
  const { kind, topic, rule, code, limit, actual, message } = event;
  const about = { kind, topic, rule, code, limit, actual };
  return warn({ event: "fds-refused", ...who(event), ...about }, message);
}

function bodyRefusedRecord(event: Extract<BrokerEvent, { type: "body-refused" }>): AuditRecord {
  const { topic, code, limit, actual } = event;
  return warn({ event: "body-refused", ...who(event), topic, code, limit, actual });
}

function limitedRecord(event: Extract<BrokerEvent, { type: "limited" }>): AuditRecord {
  const { code, topic, limit, actual, message } = event;
  return warn({ event: "limited", ...who(event), topic, code, limit, actual }, message);
}

function disconnectedRecord(event: Extract<BrokerEvent, { type: "disconnected" }>): AuditRecord {
  const { code, limit, actual, message } = event;
  const count = event.lost === 0 ? undefined : event.lost;
  if (code === undefined) return info({ event: "disconnected", ...who(event), count });
  return warn({ event: "evicted", ...who(event), code, limit, actual, count }, message);
}

function decisionRecord(event: Extract<BrokerEvent, { action: string }>): AuditRecord {
  const { type, action, topic, rule } = event;
  const count = type === "would-deny" ? event.count : undefined;
  return warn({ event: type, ...who(event), action, topic, rule, count });
}

function who(event: {
  connection: number;
  identity: PeerIdentity;
}): Pick<AuditFields, "connection" | "uid" | "gid" | "pid" | "unit" | "exe"> {
  const { uid, gid, pid, unit, exe } = event.identity;
  return { connection: event.connection, uid, gid, pid, unit, exe };
}

function info(fields: AuditFields): AuditRecord {
  return { level: "info", fields };
}

function warn(fields: AuditFields, message?: string): AuditRecord {
  return { level: "warn", fields, message };
}
