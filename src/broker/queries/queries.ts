/**
 * QUERY: what the broker knows of itself, for people and tools. Finds the provider for a subject,
 * and says who may see what; the answers are the providers'. Also keeps the figures of connections
 * that go.
 */

import { decodeQuery, type Query, queryAckBody } from "../../protocol/administration-messages.ts";
import { errorBody } from "../../protocol/control-messages.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { STATUS } from "../../protocol/status-codes.ts";
import { checkPattern } from "../../protocol/topics.ts";
import type { QuerySubject } from "../../protocol/words.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { Administration } from "../requests/administration.ts";
import { bodyEnd, bodyStart, checkRequestId } from "../requests/requests.ts";
import type { ControlSender } from "../routing/introductions.ts";
import { pageOf } from "./answer-page.ts";
import { type ClientTables, clientProviders } from "./client-entries.ts";
import type { CounterSource, QueryProvider } from "./query-provider.ts";
import { type StatsTables, statsProvider } from "./stats-entries.ts";

/** What queries are answered with. */
export interface QueriesParts extends ClientTables, Omit<StatsTables, "counters"> {
  readonly administration: Pick<Administration, "isAdministrator">;
  readonly send: ControlSender;
}

/** Answers questions. */
export class Queries implements Area {
  readonly opcodes: readonly number[] = [OPCODE.QUERY];
  readonly #parts: QueriesParts;
  readonly #providers = new Map<QuerySubject, QueryProvider>();
  readonly #counters = new Map<string, CounterSource>();

  constructor(parts: QueriesParts) {
    this.#parts = parts;
    const counters = this.#counters;
    for (const provider of clientProviders(parts)) this.addProvider(provider);
    this.addProvider(statsProvider({ ...parts, counters }));
  }

  /** Answers questions about a subject that nobody answered so far. */
  addProvider(provider: QueryProvider): void {
    this.#providers.set(provider.subject, provider);
  }

  /** Adds figures to what `stats` says of the broker, under this name. */
  addCounters(name: string, source: CounterSource): void {
    this.#counters.set(name, source);
  }

  /** Area */
  read(connection: Connection, frame: ClientFrame): CarryOut {
    checkRequestId(frame);
    const query = decodeQuery(frame.bytes, bodyStart(frame), bodyEnd(frame));
    return () => this.#answer(connection, frame.id, query);
  }

  /** Area: figures are kept in the end, so that they are counted once at any time. */
  leave(): undefined {}

  /** Area */
  noteLeft(connection: Connection): void {
    this.#parts.statistics.fold(connection);
  }

  /** Area: what may be seen hangs on the user alone. */
  refresh(): undefined {}

  #answer(connection: Connection, requestId: number, query: Query): void {
    const { administration, send } = this.#parts;
    const { what, about, after } = query;
    const flaw = about === undefined || what === "client" ? undefined : checkPattern(about);
    if (flaw !== undefined) {
      const message = `Cannot ask: the pattern is malformed, ${flaw}`;
      const body = errorBody({ status: STATUS.REJECTED_PATTERN, message });
      return send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
    }
    const isAdministrator = administration.isAdministrator(connection.identity);
    const question = { asker: connection, isAdministrator, about, after };
    const page = pageOf(this.#providers.get(what)?.entries(question) ?? []);
    send(connection, { opcode: OPCODE.ACK, id: requestId, body: queryAckBody(page) });
  }
}
