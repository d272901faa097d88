/** Questions about connections: all of them, one of them, their subscriptions, their topics. */

import { patternsIntersect, topicMatches } from "../../protocol/topics.ts";
import type { Connection, SubscriptionWish } from "../connection.ts";
import type { ConnectionTable } from "../connection-table.ts";
import { figuresOf } from "../figures/figures.ts";
import { RESOURCE, type ResourceName } from "../quotas/quota.ts";
import type { BackPressure } from "../reading/back-pressure.ts";
import type { BusState } from "../routing/bus-state.ts";
import { goneEntries, isBeforeGone } from "./gone-entries.ts";
import { HOLDERS_TOLD_MAX } from "./limits.ts";
import {
  type Entry,
  maySee,
  numberKey,
  type QueryProvider,
  type Question,
} from "./query-provider.ts";

const RESOURCES = Object.entries(RESOURCE) as [ResourceName, (typeof RESOURCE)[ResourceName]][];

/** Supplementary groups that are told; a client may have 65,536 of them. */
const GROUPS_TOLD_MAX = 256;

/** Of a subscription that asked for nothing beside its pattern. */
const NO_WISH: SubscriptionWish = { group: undefined, overflow: undefined };

/** Where the answers come from. */
export interface ClientTables {
  readonly table: ConnectionTable;
  readonly state: BusState;
  readonly backPressure: Pick<BackPressure, "heldOf" | "countHeldBy">;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** The providers for `clients`, `client`, `subscriptions` and `topics`. */
export function clientProviders(tables: ClientTables): QueryProvider[] {
  return [
    { subject: "clients", entries: (question) => clients(tables, question) },
    { subject: "client", entries: (question) => oneClient(tables, question) },
    { subject: "subscriptions", entries: (question) => subscriptions(tables, question) },
    { subject: "topics", entries: (question) => topics(tables, question) },
  ];
}

function* clients(tables: ClientTables, question: Question): Generator<Entry> {
  const after = numberKey(question.after) ?? -1;
  for (const connection of tables.table.from(after + 1)) {
    const isShown = maySee(question, connection);
    const value = isShown ? clientValue(tables, question, connection) : undefined;
    yield { key: String(connection.slot), value };
  }
}

function* oneClient(tables: ClientTables, question: Question): Generator<Entry> {
  if (question.after !== undefined) return;
  const id = numberKey(question.about);
  const connection = id === undefined ? undefined : tables.table.withId(id);
  if (connection === undefined || !maySee(question, connection)) return;
  const { groups, cgroup, label } = connection.identity;
  const shown = { groups: groups.slice(0, GROUPS_TOLD_MAX), cgroup, label };
  const about = { ...shown, services: servicesOf(connection), quotas: quotasOf(connection) };
  const value = { ...clientValue(tables, question, connection), ...about };
  yield { key: String(connection.slot), value };
}

function clientValue(tables: ClientTables, question: Question, connection: Connection): object {
  const { id, identity, queue, openTopics, acceptedAt } = connection;
  const { uid, gid, pid, unit, exe, unmapped } = identity;
  return {
    connection: id,
    uid,
    gid,
    pid,
    unit,
    exe,
    unmapped: unmapped === true ? true : undefined,
    state: stateWord(connection),
    connectedMs: Math.round(tables.now() - acceptedAt),
    ...holdupOf(tables, question, connection),
    topics: openTopics.size,
    subscriptions: connection.subscriptions.size,
    queuedBytes: queue.queuedBytes,
    queuedFds: queue.queuedFds,
    fdsOnTheirWay: connection.fdAccount.waiting,
    ...figuresOf(connection),
  };
}

function stateWord({ state, isHeld }: Connection): string {
  if (state === "AWAIT_HELLO") return "awaits-hello";
  if (state === "DOOMED") return "ending";
  return isHeld ? "held" : "open";
}

/** Since when it is held back, on which topic and by whom; and how many publishers it holds back. */
function holdupOf({ backPressure, now }: ClientTables, question: Question, connection: Connection) {
  const holdsBack = backPressure.countHeldBy(connection);
  const holding = { holdsBack: holdsBack === 0 ? undefined : holdsBack };
  const held = backPressure.heldOf(connection);
  if (held === undefined) return holding;
  const seen = held.by.filter((subscriber) => maySee(question, subscriber));
  const heldBy = seen.slice(0, HOLDERS_TOLD_MAX).map(({ id }) => id);
  return { heldMs: Math.round(now() - held.since), heldOn: held.topic, heldBy, ...holding };
}

/** What it has to do with services; undefined for nothing so far. */
function servicesOf({ services }: Connection): object | undefined {
  if (services === undefined) return undefined;
  const { open, served, watched, calls, requests, lateReplies } = services;
  return {
    open: open.size,
    served: served.size,
    watched: watched.size,
    calls: calls.size,
    requests: requests.size,
    lateReplies,
  };
}

/** What it holds and may hold, with the same for its user. */
function quotasOf({ quota }: Connection): object {
  const { user } = quota;
  const rows = RESOURCES.map(([name, resource]) => {
    const ofUser = { usedByUser: user.used(resource), limitOfUser: user.limit(resource) };
    const own = { used: quota.used(resource), limit: quota.limit(resource) };
    return [name, name === "connections" ? ofUser : { ...own, ...ofUser }] as const;
  });
  return Object.fromEntries(rows);
}

/** Keys are `slot/subscription`. */
function* subscriptions({ table }: ClientTables, question: Question): Generator<Entry> {
  const { about, after = "" } = question;
  const [slotText, numberText] = after.split("/");
  const slot = numberKey(slotText) ?? 0;
  const number = numberKey(numberText) ?? 0;
  for (const connection of table.from(slot)) {
    if (!maySee(question, connection)) {
      yield { key: `${connection.slot}/0`, value: undefined };
      continue;
    }
    const behind = connection.slot === slot ? number : 0;
    for (const [subscription, pattern] of connection.subscriptions) {
      if (subscription <= behind) continue;
      const isMeant = about === undefined || patternsIntersect(about, pattern);
      const { uid } = connection.identity;
      const { group, overflow } = connection.wishes.get(subscription) ?? NO_WISH;
      const value = { connection: connection.id, uid, subscription, pattern, group, overflow };
      yield { key: `${connection.slot}/${subscription}`, value: isMeant ? value : undefined };
    }
  }
}

function* topics({ table, state }: ClientTables, question: Question): Generator<Entry> {
  if (isBeforeGone(question)) yield* openTopics(table, state, question);
  yield* goneEntries(
    question,
    state.topics.goneSums(),
    (topic, { published, matched, dropped }) => {
      return { topic, publishers: 0, published, delivered: matched - dropped, dropped };
    },
  );
}

function* openTopics(
  table: ConnectionTable,
  state: BusState,
  question: Question,
): Generator<Entry> {
  const { about, isAdministrator } = question;
  const own = isAdministrator ? undefined : topicIdsOf(table, question);
  for (const topic of state.topics.above(numberKey(question.after) ?? 0)) {
    const { id, name, publishers, published, matched, dropped } = topic;
    const isMeant = about === undefined || topicMatches(about, name);
    // The others are services, which have ids of the same kind.
    const isTopic = publishers > 0 || published > 0;
    const isShown = isMeant && isTopic && own?.has(id) !== false;
    const figures = { published, delivered: matched - dropped, dropped };
    const value = { topic: name, publishers, ...figures };
    yield { key: String(id), value: isShown ? value : undefined };
  }
}

/** The topics that connections of the asker's user have open. */
function topicIdsOf(table: ConnectionTable, question: Question): ReadonlySet<number> {
  const ids = new Set<number>();
  for (const connection of table.all()) {
    if (!maySee(question, connection)) continue;
    for (const id of connection.openTopics.keys()) ids.add(id);
  }
  return ids;
}
