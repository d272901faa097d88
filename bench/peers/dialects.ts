/** The protocol of each peer that raw clients can speak. */

import { dbusDaemonDialect, dbusDialect } from "./dbus-dialect.ts";
import type { Dialect } from "./dialect.ts";
import { mqttDialect } from "./mqtt-dialect.ts";
import { natsDialect } from "./nats-dialect.ts";
import type { PeerKind } from "./peer-kinds.ts";
import { redisDialect } from "./redis-dialect.ts";
import { openStream } from "./stream-socket.ts";
import { zmtpDialect } from "./zmtp-dialect.ts";

const DIALECTS: Partial<Record<string, Dialect>> = {
  redis: redisDialect,
  nats: natsDialect,
  mosquitto: mqttDialect,
  zeromq: zmtpDialect,
  "dbus-daemon": dbusDaemonDialect,
  "dbus-broker": dbusDialect,
} satisfies Partial<Record<PeerKind, Dialect>>;

/** @throws {Error} for what is no peer */
export function dialectOf(peer: string): Dialect {
  const dialect = DIALECTS[peer];
  if (dialect === undefined) throw new Error(`No raw client speaks to ${peer}`);
  return dialect;
}

/** Connects to a peer. @returns the fd, owned by the caller */
export function openPeer(dialect: Dialect, address: string, receives: boolean): number {
  return openStream(dialect.addressFor?.(address, receives) ?? address);
}
