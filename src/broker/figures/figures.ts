/**
 * What connections did and got, counted since they connected: plain sums, so that those of one
 * connection, a user, a unit and the whole broker are of one kind and can be added. Counting itself
 * is the router's; nothing here is on its path.
 */

import type { Connection } from "../connection.ts";
import { CALL_FIGURES, zeroCallFigures } from "../services/call-figures.ts";

/** Each figure, in the order in which it is told. Bytes are those of frames, header and padding included. */
export const FIGURES = [
  "published",
  "publishedBytes",
  "matched",
  "dropped",
  "lostLater",
  "superseded",
  "denied",
  "received",
  "receivedBytes",
  "missed",
  ...CALL_FIGURES,
] as const;

/**
 * published, publishedBytes: messages that it sent and the broker routed. matched: pairs of such a
 * message and a subscriber. dropped: of these, not delivered. lostLater: delivered into a queue, and
 * lost there. superseded: the same, because a newer message stands for it. denied: messages that were
 * refused. received, receivedBytes: messages handed to it, or put into its queue. missed: messages
 * that it should have got and did not, those included that were lost from its queue later. So over
 * all connections matched is received and missed; and missed is dropped, lostLater and superseded,
 * but for what was lost after its publisher had gone, which is booked on nobody. Replayed last values
 * and what the broker says itself are in none; calls have figures of their own (call-figures.ts).
 */
export type Figures = { [F in (typeof FIGURES)[number]]: number };

/** What the router counts for a receiver. */
export type ReceiverFigures = Pick<Figures, "received" | "receivedBytes" | "missed">;

/** Nothing so far. */
export function zeroFigures(): Figures {
  return {
    published: 0,
    publishedBytes: 0,
    matched: 0,
    dropped: 0,
    lostLater: 0,
    superseded: 0,
    denied: 0,
    received: 0,
    receivedBytes: 0,
    missed: 0,
    ...zeroCallFigures(),
  };
}

/** Adds all figures of `from` to `into`. */
export function addFigures(into: Figures, from: Figures): void {
  for (const name of FIGURES) into[name] += from[name];
}

/** The figures of one connection since it connected. */
export function figuresOf(connection: Connection): Figures {
  const { countersSoFar: counters, settled, figures, queue, callFigures } = connection;
  const { withdrawn } = queue;
  return {
    published: settled.published + counters.published,
    publishedBytes: figures.publishedBytes,
    matched: settled.matched + counters.matched,
    dropped: settled.dropped + counters.dropped,
    lostLater: settled.lostLater + counters.lostLater,
    superseded: settled.superseded + counters.superseded,
    denied: settled.denied + counters.denied,
    received: figures.received - withdrawn.messages,
    receivedBytes: figures.receivedBytes - withdrawn.bytes,
    missed: figures.missed + withdrawn.messages,
    ...(callFigures ?? zeroCallFigures()),
  };
}
