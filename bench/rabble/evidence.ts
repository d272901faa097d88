/**
 * Whether a crowd has really misbehaved: what its process says that it did, beside what the broker
 * counted meanwhile. A siege in which something of it did not happen proves nothing, and fails.
 */

import type { Bus } from "../../src/client/index.ts";
import type { BesiegedReport } from "../work-order.ts";
import type { ResidentKind } from "./residents.ts";

/** Nobody's uid here. */
export const RABBLE_UID = 65_533;

/** Figures of the broker, flat: "endings.PROTOCOL_OPCODE". Those of the crowd's user: "uid.calls". */
export type Counts = ReadonlyMap<string, number>;

/** How often the broker was asked. */
export interface Observed {
  readonly before: Counts;
  /** While the crowd is there. */
  readonly during: Counts;
  readonly after: Counts;
}

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

/** @throws {Error} where some kind of misdeed did not happen, or left no trace in the broker */
export function demandEvidence(
  { attempts, deeds }: BesiegedReport,
  { before, during, after }: Observed,
): void {
  const grew = (name: string) => {
    const most = Math.max(during.get(name) ?? 0, after.get(name) ?? 0);
    return most > (before.get(name) ?? 0);
  };
  const missing = [
    ...(attempts > 0 ? [] : ["nobody came"]),
    ...Object.keys(TRACES).filter((kind) => (deeds[kind] ?? 0) === 0),
    ...Object.values(TRACES).filter((name) => name !== undefined && !grew(name)),
    ...TRACES_OF_COMERS.filter((name) => !grew(name)),
  ];
  if (missing.length === 0) return;
  throw new Error(`The crowd did not do all that it should: ${missing.join(", ")}`);
}
