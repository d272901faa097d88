/** The protocol of each peer that raw clients can speak. */

import { dbusDaemonDialect, dbusDialect } from "./dbus-dialect.ts";
import type { Dialect } from "./dialect.ts";
import { mqttDialect } from "./mqtt-dialect.ts";
import { natsDialect } from "./nats-dialect.ts";
import type { PeerKind } from "./peer-kinds.ts";
import { redisDialect } from "./redis-dialect.ts";

const DIALECTS: Partial<Record<string, Dialect>> = {
  redis: redisDialect,
  nats: natsDialect,
  mosquitto: mqttDialect,
  "dbus-daemon": dbusDaemonDialect,
  "dbus-broker": dbusDialect,
} satisfies Partial<Record<PeerKind, Dialect>>;

/** @throws {Error} for one that has none: ZeroMQ is spoken by its own library alone */
export function dialectOf(peer: string): Dialect {
  const dialect = DIALECTS[peer];
  if (dialect === undefined) throw new Error(`No raw client speaks to ${peer}`);
  return dialect;
}
