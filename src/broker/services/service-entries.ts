/** The question `services`: which are served, by whom, and how many wait to. */

import { SERVICE_OWNERS_TOLD_MAX } from "../../protocol/limits.ts";
import { topicMatches } from "../../protocol/topics.ts";
import type { Connection } from "../connection.ts";
import { goneEntries, isBeforeGone } from "../queries/gone-entries.ts";
import {
  type Entry,
  numberKey,
  type QueryProvider,
  type Question,
} from "../queries/query-provider.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { Service, ServiceTable } from "./service-table.ts";

/** Where the answers come from. */
export interface ServiceEntriesTables {
  readonly state: BusState;
  readonly table: ServiceTable<Connection>;
}

/** The provider for `services`. */
export function serviceProvider(tables: ServiceEntriesTables): QueryProvider {
  return { subject: "services", entries: (question) => services(tables, question) };
}

function* services(tables: ServiceEntriesTables, question: Question): Generator<Entry> {
  if (isBeforeGone(question)) yield* usedServices(tables, question);
  yield* goneEntries(question, tables.table.goneFigures(), (service, figures) => {
    return { service, owners: [], count: 0, waiting: 0, ...figures };
  });
}

/** In the order of their ids, which stand for topics that are no services, too. */
function* usedServices(
  { state, table }: ServiceEntriesTables,
  question: Question,
): Generator<Entry> {
  const { about, asker, isAdministrator } = question;
  for (const { id, name } of state.topics.above(numberKey(question.after) ?? 0)) {
    const service = table.find(name);
    const isMeant = about === undefined || topicMatches(about, name);
    const isShown =
      isMeant &&
      service !== undefined &&
      (isAdministrator
        ? service.ownerCount > 0 || service.figures.calls > 0
        : service.ownerCount > 0 && state.peek(asker, "call", name).allowed);
    yield { key: String(id), value: isShown ? serviceValue(service) : undefined };
  }
}

function serviceValue(service: Service<Connection>): object {
  const { topic, generation, ownerCount: count, waitingCount: waiting, figures } = service;
  const owners: number[] = [];
  for (const { id } of service.owners) {
    if (owners.length >= SERVICE_OWNERS_TOLD_MAX) break;
    owners.push(id);
  }
  return { service: topic.name, owners, count, waiting, generation, ...figures };
}
