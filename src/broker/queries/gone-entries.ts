/**
 * Figures of topics and services that nobody uses any more, behind those that are in use: for
 * administrators alone, since nobody has a right to them that could be asked for.
 */

import { topicMatches } from "../../protocol/topics.ts";
import { OTHERS } from "../figures/folded-sums.ts";
import { type Entry, numberKey, type Question } from "./query-provider.ts";

/** Keys sort like the entries: `gone/a.b`, `others`. Those in use have numbers. */
const GONE_PREFIX = "gone/";
const OTHERS_KEY = "others";

/** Whether the answer so far ended among those in use. */
export function isBeforeGone({ after }: Question): boolean {
  return after === undefined || numberKey(after) !== undefined;
}

/**
 * Entries for what is gone, by name.
 * @param describe what is told; the name is OTHERS for those that are not kept apart
 */
export function* goneEntries<Sum>(
  question: Question,
  sums: Iterable<[name: string | typeof OTHERS, sum: Sum]>,
  describe: (name: string | typeof OTHERS, sum: Sum) => object,
): Generator<Entry> {
  const { about, isAdministrator } = question;
  if (!isAdministrator) return;
  const after = isBeforeGone(question) ? "" : (question.after ?? "");
  const entries = Array.from(sums, ([name, sum]) => {
    return { key: name === OTHERS ? OTHERS_KEY : `${GONE_PREFIX}${name}`, name, sum };
  });
  for (const { key, name, sum } of entries.sort((a, b) => (a.key < b.key ? -1 : 1))) {
    if (key <= after) continue;
    const isMeant = about === undefined || (name !== OTHERS && topicMatches(about, name));
    yield { key, value: isMeant ? describe(name, sum) : undefined };
  }
}
