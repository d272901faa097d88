/** One answer to QUERY: as many entries as fit, as a JSON array, and where the next one goes on. */

import { QUERY_ANSWER_BYTES_MAX, QUERY_ENTRIES_PER_LOOK } from "./limits.ts";
import type { Entry } from "./query-provider.ts";

/** As the ACK of QUERY has it. */
export interface AnswerPage {
  readonly answer: string;
  readonly next?: string | undefined;
}

/**
 * Reads entries until QUERY_ANSWER_BYTES_MAX bytes are written or QUERY_ENTRIES_PER_LOOK were looked
 * at. One entry at least is in it, where there is one to be told; it must fit a packet by itself.
 */
export function pageOf(entries: Iterable<Entry>): AnswerPage {
  const texts: string[] = [];
  let bytes = 2;
  let looked = 0;
  let last: string | undefined;
  for (const { key, value } of entries) {
    if (looked === QUERY_ENTRIES_PER_LOOK) return { answer: `[${texts.join(",")}]`, next: last };
    looked += 1;
    if (value !== undefined) {
      const text = JSON.stringify(value);
      bytes += Buffer.byteLength(text) + 1;
      if (texts.length > 0 && bytes > QUERY_ANSWER_BYTES_MAX) {
        return { answer: `[${texts.join(",")}]`, next: last };
      }
      texts.push(text);
    }
    last = key;
  }
  return { answer: `[${texts.join(",")}]` };
}
