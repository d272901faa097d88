/**
 * What a benchmark process is told to do, and what it says back: one JSON argument, and one JSON
 * object a line on stdout. Must not know scenarios: those are scenarios.ts.
 */

/** How a subscriber or publisher takes part. */
export type ClientKind = "raw" | "library" | "library-iterator";

/** Which process stands in the middle. */
export type RelayKind = "floor" | "broker";

/** What a message is made of: plain bytes, or an object through the client's msgpack. */
export type PayloadKind = "bytes" | "object";

/** One process's orders. */
export interface WorkOrder {
  /** Pathname of the relay's socket. */
  readonly path: string;
  readonly relay: RelayKind;
  /** Bytes of one message body, 16 and more; without meaning for objects. */
  readonly messageBytes: number;
  /** Bytes of one packet at most, for raw publishers. */
  readonly packetBytes: number;
  /** Topics that the publisher uses, one after the other. */
  readonly topics: number;
  readonly payload: PayloadKind;
  /** Messages that may be under way at a time, so that no queue ever has to drop. */
  readonly windowMessages: number;
  /** Milliseconds at the start that do not count. */
  readonly warmUpMs: number;
  /** Milliseconds that a publisher sends, the warm-up included. */
  readonly durationMs: number;
  /** A publisher stops here in any case. */
  readonly messagesMax: number;
  /** Subscribers whose credit sockets a publisher inherits, from CREDIT_FD_FIRST on. */
  readonly subscribers: number;
}

/** The first fd that a client process inherits: its end of a credit socket. */
export const CREDIT_FD_FIRST = 3;

/** What a process tells the harness. */
export type RoleReport =
  /** It can be used: listens, or is subscribed. */
  | { readonly type: "ready" }
  /** The warm-up is over: figures count from here. */
  | { readonly type: "warm" }
  /** A publisher has sent its last message. */
  | { readonly type: "published"; readonly messages: number }
  | ReceivedReport
  | LatencyReport;

/** A subscriber has got, and checked, every message. */
export interface ReceivedReport {
  readonly type: "received";
  /** All messages. */
  readonly messages: number;
  /** Those after the warm-up, and the time that they took. */
  readonly warmMessages: number;
  readonly warmMs: number;
}

/** A pinging process is done. */
export interface LatencyReport {
  readonly type: "latency";
  readonly rounds: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** The order in this process's first argument. */
export function readWorkOrder(): WorkOrder {
  return JSON.parse(process.argv[2] ?? "") as WorkOrder;
}

/** Tells the harness. */
export function report(message: RoleReport): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
