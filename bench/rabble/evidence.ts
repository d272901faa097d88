/**
 * Whether a crowd has really misbehaved: what its process says that it did, beside what the broker
 * counted meanwhile. A siege in which something of it did not happen proves nothing, and fails.
 */

import type { Bus } from "../../src/client/index.ts";
import type { BesiegedReport } from "../work-order.ts";
import { RESIDENT_KINDS, type ResidentKind } from "./resident-kinds.ts";

/** Nobody's uid here. */
export const RABBLE_UID = 65_533;

/** Milliseconds that a crowd may take to leave all its traces. */
const TRACES_WAIT_MS = 10_000;

const LOOK_INTERVAL_MS = 50;

/** Figures of the broker, flat: "endings.PROTOCOL_OPCODE". Those of the crowd's user: "uid.calls". */
export type Counts = ReadonlyMap<string, number>;

/** What grows by the deeds of residents, by their kind; undefined where their own count is proof. */
const TRACES: Readonly<Record<ResidentKind, string | undefined>> = {
  "stands still": "uid.missed",
  "takes no files": "uid.quotas.fds.used",
  "serves and is silent": "uid.requests",
  "floods alone": "uid.published",
  "floods the crowd": "uid.dropped",
  "floods with large packets": "uid.publishedBytes",
  "calls in vain": "uid.calls",
  "answers nobody": "services.lateReplies",
  "hands out files": "uid.quotas.fds.used",
  // It asks for more only when it was answered.
  "opens and closes": undefined,
  "asks and never reads": "endings.LIMIT_CONTROL_QUEUE",
};

/** What grows by those who come and go. */
const TRACES_OF_COMERS = [
  "events.turned-away",
  "endings.PROTOCOL_STATE",
  "endings.PROTOCOL_OPCODE",
  "endings.PROTOCOL_TOPIC_ID",
  "endings.PROTOCOL_FRAME_LENGTH",
  "endings.PROTOCOL_PACKET_SIZE",
];

const TRACE_NAMES = [
  ...Object.values(TRACES).filter((name) => name !== undefined),
  ...TRACES_OF_COMERS,
];

/** Asks the broker. @param bus an administrator's */
export async function countAll(bus: Bus): Promise<Counts> {
  const counts = new Map<string, number>();
  for await (const entry of bus.query("stats")) {
    if (entry["kind"] === "broker") flatten(entry, "", counts);
    if (entry["kind"] === "uid" && entry["uid"] === RABBLE_UID) flatten(entry, "uid.", counts);
  }
  return counts;
}

function flatten(entry: object, prefix: string, into: Map<string, number>): void {
  for (const [name, value] of Object.entries(entry)) {
    if (typeof value === "number") into.set(prefix + name, value);
    if (typeof value === "object" && value !== null) flatten(value, `${prefix}${name}.`, into);
  }
}

/**
 * Waits until the broker has seen each kind of misdeed.
 * @param bus an administrator's
 * @param before what it counted before the crowd came
 * @throws {Error} where some kind leaves no trace
 */
export async function awaitTraces(bus: Bus, before: Counts): Promise<void> {
  const deadline = performance.now() + TRACES_WAIT_MS;
  for (;;) {
    const during = await countAll(bus);
    const missing = TRACE_NAMES.filter((name) => {
      return (during.get(name) ?? 0) <= (before.get(name) ?? 0);
    });
    if (missing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`No trace in the broker: ${missing}`);
    await Bun.sleep(LOOK_INTERVAL_MS);
  }
}

/** @throws {Error} where some kind of misdeed was not done */
export function demandDeeds({ attempts, deeds }: BesiegedReport): void {
  const missing = RESIDENT_KINDS.filter((kind) => (deeds[kind] ?? 0) === 0);
  if (attempts === 0 || missing.length > 0) throw new Error(`The crowd did not: ${missing}`);
}
