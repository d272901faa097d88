/**
 * What answers questions: one provider for each subject of QUERY. A feature with tables of its own
 * (services, last values) brings its provider along and hands it to Queries.
 */

import type { QuerySubject } from "../../protocol/words.ts";
import type { Connection } from "../connection.ts";

/** What somebody asks. */
export interface Question {
  readonly asker: Connection;
  /** Root, or the broker's own user: sees everything. */
  readonly isAdministrator: boolean;
  /** A valid pattern for topics, services and subscriptions; for "client" a connection id. */
  readonly about: string | undefined;
  /** The key of the last entry that was told before; from the client, so it may be anything. */
  readonly after: string | undefined;
}

/** One thing that was looked at. */
export interface Entry {
  /** Its place in the order: entries behind it have greater ones, also in a later answer. */
  readonly key: string;
  /** What is told, to be written as JSON; undefined where the asker may not see it or did not ask. */
  readonly value: object | undefined;
}

/** Answers all questions about one subject. */
export interface QueryProvider {
  readonly subject: QuerySubject;
  /**
   * Entries behind `question.after`, in a fixed order. Read as far as the answer goes, so each step
   * should be cheap, and what comes first, too.
   */
  entries(question: Question): Iterable<Entry>;
}

/** Figures of a feature, for `stats`; asked for at each question. */
export type CounterSource = () => Readonly<Record<string, number>>;

/** Whether the asker may see what concerns a connection: its own user's, or anybody's. */
export function maySee({ asker, isAdministrator }: Question, other: Connection): boolean {
  if (isAdministrator || other === asker) return true;
  // Users without a mapping here all have one uid, and are not the same.
  if (asker.identity.unmapped === true || other.identity.unmapped === true) return false;
  return other.identity.uid === asker.identity.uid;
}

/** A key that is a number. @returns undefined for anything else that a client may send */
export function numberKey(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,15}$/.test(text)) return undefined;
  return Number(text);
}
