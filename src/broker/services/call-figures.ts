/**
 * What came of calls, counted for a connection and for a service. Plain sums, which can be added;
 * counting is for calls.ts and replies.ts.
 */

/** Each figure, in the order in which it is told. */
export const CALL_FIGURES = ["calls", "callsFailed", "requests", "replies", "replyParts"] as const;

/**
 * Of a connection: calls that it made, and of these callsFailed: those that ended with an ERROR, by
 * the failure of their handler or by the caller's time-out; requests that it was handed, replies that
 * it answered with and that were passed on, parts of others aside, which are replyParts. Of a service
 * the same, of all that call and serve it.
 */
export type CallFigures = { [F in (typeof CALL_FIGURES)[number]]: number };

/** Nothing so far. */
export function zeroCallFigures(): CallFigures {
  return { calls: 0, callsFailed: 0, requests: 0, replies: 0, replyParts: 0 };
}

/** Adds all figures of `from` to `into`. */
export function addCallFigures(into: CallFigures, from: Readonly<CallFigures>): void {
  for (const name of CALL_FIGURES) into[name] += from[name];
}
