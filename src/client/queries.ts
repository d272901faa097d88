/** Asking the broker what it knows: one answer after another, as entries. */

import { decodeQueryAck, queryBody } from "../protocol/administration-messages.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import type { QuerySubject } from "../protocol/words.ts";

/** Choices for query(). */
export interface QueryOptions {
  /** For services, topics and subscriptions a pattern; for "client" a connection id. */
  readonly about?: string;
}

/** Plain data; docs/protocol.md lists the fields of each subject under QUERY. */
export type QueryEntry = Readonly<Record<string, unknown>>;

/** Sends a request. @returns the body of its ACK */
export type Requester = (opcode: number, body: ControlMap) => Promise<Uint8Array>;

/**
 * Asks until there are no more answers. What changes meanwhile may be missed or told as it was; what
 * stays is told once.
 * @throws {RejectedError} REJECTED_PATTERN
 */
export async function* queryEntries(
  request: Requester,
  what: QuerySubject,
  { about }: QueryOptions,
): AsyncGenerator<QueryEntry, void> {
  let after: string | undefined;
  do {
    const body = await request(OPCODE.QUERY, queryBody({ what, about, after }));
    const page = decodeQueryAck(body, 0, body.byteLength);
    yield* JSON.parse(page.answer) as QueryEntry[];
    after = page.next;
  } while (after !== undefined);
}
