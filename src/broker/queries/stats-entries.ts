/** The question `stats`: the broker as a whole, then its users, then its units. */

import { SOFTWARE } from "../../version.ts";
import type { ConnectionTable } from "../connection-table.ts";
import type { FdCounters } from "../fds/fds-in-flight.ts";
import { OTHERS } from "../figures/folded-sums.ts";
import type { Statistics, Sum } from "../figures/statistics.ts";
import { type Quotas, RESOURCE, type ResourceName } from "../quotas/quota.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { CounterSource, Entry, QueryProvider, Question } from "./query-provider.ts";

const RESOURCES = Object.entries(RESOURCE) as [ResourceName, (typeof RESOURCE)[ResourceName]][];

/** Keys sort like the entries: `1`, `2/0000001000`, `2/others`, `3/sensord.service`, `4/others`. */
const BROKER_KEY = "1";
const UID_DIGITS = 10;
const OTHER_UNITS_KEY = "4/others";

/** Where the answers come from. */
export interface StatsTables {
  readonly table: ConnectionTable;
  readonly state: BusState;
  readonly quotas: Quotas;
  readonly statistics: Statistics;
  readonly fdCounters: Readonly<FdCounters>;
  /** Bytes that wait for slow readers and are charged to them. */
  readonly backlogBytes: () => number;
  /** Bytes of memory of the process; undefined where it cannot be told now. */
  readonly residentBytes: () => number | undefined;
  readonly counters: ReadonlyMap<string, CounterSource>;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** The provider for `stats`. */
export function statsProvider(tables: StatsTables): QueryProvider {
  const startedAt = tables.now();
  return { subject: "stats", entries: (question) => entriesOf(tables, question, startedAt) };
}

function* entriesOf(tables: StatsTables, question: Question, startedAt: number): Generator<Entry> {
  const { after = "" } = question;
  if (after < BROKER_KEY) {
    yield { key: BROKER_KEY, value: brokerValue(tables, question, startedAt) };
  }
  const { table, statistics } = tables;
  const uids = [...statistics.byUid(table.all())].map(([uid, sum]) => ({
    key: uid === OTHERS ? "2/others" : `2/${String(uid).padStart(UID_DIGITS, "0")}`,
    uid,
    sum,
  }));
  for (const { key, uid, sum } of uids.sort(byKey)) {
    if (key > after) yield { key, value: uidValue(tables, question, uid, sum) };
  }
  if (!question.isAdministrator) return;
  const units = [...statistics.byUnit(table.all())].map(([unit, sum]) => ({
    key: unit === OTHERS ? OTHER_UNITS_KEY : `3/${unit}`,
    value: { kind: "unit", unit, ...sumValue(sum) },
  }));
  for (const entry of units.sort(byKey)) if (entry.key > after) yield entry;
}

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : 1;
}

function brokerValue(tables: StatsTables, question: Question, startedAt: number): object {
  const { table, state, statistics, counters } = tables;
  const uptimeMs = Math.round(tables.now() - startedAt);
  const about = { kind: "broker", software: SOFTWARE, uptimeMs };
  if (!question.isAdministrator) return about;
  return {
    ...about,
    pid: process.pid,
    rssBytes: tables.residentBytes(),
    ...sumValue(statistics.total(table.all())),
    topics: state.topics.size,
    subscriptions: state.subscriptionCount,
    queuedBytes: tables.backlogBytes(),
    fds: { ...tables.fdCounters },
    events: statistics.events,
    endings: statistics.endings,
    ...Object.fromEntries([...counters].map(([name, source]) => [name, source()])),
  };
}

function uidValue(
  { quotas }: StatsTables,
  { asker, isAdministrator }: Question,
  uid: number | typeof OTHERS,
  sum: Sum,
): object | undefined {
  const { identity } = asker;
  if (!isAdministrator && (identity.unmapped === true || uid !== identity.uid)) return undefined;
  const value = { kind: "uid", uid, ...sumValue(sum) };
  if (uid === OTHERS) return value;
  // What a user holds may outlive its connections, as last values do.
  const user = quotas.find(uid);
  if (user === undefined) return value;
  const rows = RESOURCES.map(([name, resource]) => {
    return [name, { used: user.used(resource), limit: user.limit(resource) }] as const;
  });
  return { ...value, quotas: Object.fromEntries(rows) };
}

function sumValue({ open, gone, figures }: Sum): object {
  return { connections: open, connectionsGone: gone, ...figures };
}
