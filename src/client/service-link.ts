/** What calls, services, watches and channels need of their bus, and nothing more. */

import type { ControlMap } from "../protocol/control-body.ts";
import type { Clock } from "./clock.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Repeat } from "./link.ts";
import type { Sender } from "./message.ts";
import type { Outbound } from "./outbound.ts";
import type { PendingRequests, Waiter } from "./pending-requests.ts";
import type { StatusEvent } from "./status.ts";

/** See the head of this file. */
export interface ServiceLink {
  readonly pending: PendingRequests;
  readonly outbound: Outbound;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /**
   * @throws {ClosedError} after the end of the bus: the reason of it; CLOSED_DISCONNECTED where
   *   nothing may wait for the next connection
   */
  assertKeeps(): void;
  /** Whether there is a broker to ask; false: restore() follows, or the end. */
  canAsk(): boolean;
  /** Whether anything may wait for the next connection. */
  mayWait(): boolean;
  /** See Link.ready(). */
  ready(): Promise<void>;
  /** See Link.ask(). */
  ask<Answer>(
    opcode: number,
    body: ControlMap,
    take: (body: Uint8Array) => Answer,
    repeat?: Repeat,
  ): Promise<Answer>;
  /** See Link.post(). */
  post(opcode: number, body: ControlMap, waiter: Waiter): number;
  /** Why nothing is read that was awaited, to be put behind the words of a time-out; mostly "". */
  whyUnread(): string;
  /** Something else that the broker tells is waited for: it is read from until that is settled. */
  awaitNews(news: Promise<unknown>): void;
  /** Who has this connection id. @throws {ProtocolError} PROTOCOL_STATE where the broker did not say */
  senderOf(connection: number): Sender;
  /** Fetches fds of the next lane record; they are the caller's. */
  takeLaneFds(count: number): number[];
  /** Tells the readers of status(). */
  noteStatus(event: StatusEvent): void;
}
