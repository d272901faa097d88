/** What the processes of this benchmark are told and say: one JSON argument, and IPC messages. */

/** Who stands in the middle: a relay that only passes fds on, or the broker between libraries. */
export type LargeRelay = "floor" | "library";

/** What a subscriber does with a body: read every byte, or map it and look at its number. */
export type LargeReading = "every byte" | "only mapped";

/** One run. */
export interface LargeOrder {
  readonly path: string;
  readonly relay: LargeRelay;
  readonly reading: LargeReading;
  /** Whether each message has memory of its own, or all share one that was sealed before. */
  readonly isShared: boolean;
  readonly bodyBytes: number;
  readonly subscribers: number;
  /** Messages that may be under way at a time. */
  readonly windowMessages: number;
  /** Milliseconds from the first body on that do not count: the compiler is at work. */
  readonly warmUpMs: number;
  /** Milliseconds that the publisher sends, the warm-up included. */
  readonly durationMs: number;
}

/** What a process says. */
export type LargeReport =
  | { readonly type: "ready" }
  | { readonly type: "published"; readonly messages: number }
  | { readonly type: "warm" }
  | ReceivedBodies;

/** All bodies that a subscriber got, and those after the warm-up with the time that they took. */
export interface ReceivedBodies {
  readonly type: "received";
  readonly messages: number;
  readonly warmMessages: number;
  readonly warmMs: number;
}

/** The topic of every message. */
export const LARGE_TOPIC = "bench.large";

/** Bytes of the body that ends a run; any other has the order's length. */
export const LARGE_END_BYTES = 4;

/** The byte that no body holds: looking for it reads all of one. */
export const ABSENT_BYTE = 0xff;

/** The order in this process's first argument. */
export function readLargeOrder(): LargeOrder {
  return JSON.parse(process.argv[2] ?? "") as LargeOrder;
}

/** Tells the parent. */
export function say(report: LargeReport): void {
  process.send?.(report);
}
