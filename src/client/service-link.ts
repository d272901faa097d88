/** What calls, services, watches and channels need of their bus, and nothing more. */

import type { ControlMap } from "../protocol/control-body.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Sender } from "./message.ts";
import type { Outbound } from "./outbound.ts";
import type { PendingRequests, Waiter } from "./pending-requests.ts";
import type { StatusEvent } from "./status.ts";

/** See the head of this file. A test has one without a bus. */
export interface ServiceLink {
  readonly pending: PendingRequests;
  readonly outbound: Outbound;
  readonly deadlines: Deadlines;
  /** @throws {ClosedError} after the end of the bus: the reason of it */
  assertOpen(): void;
  /** Sends a request whose waiter is called within the packet that holds the answer. @returns its id */
  send(opcode: number, body: ControlMap, waiter: Waiter): number;
  /** Sends a request. Rejects where it is refused, and after the end of the bus. */
  request(opcode: number, body: ControlMap): Promise<Uint8Array>;
  /** Who has this connection id. @throws {ProtocolError} PROTOCOL_STATE where the broker did not say */
  senderOf(connection: number): Sender;
  /** Fetches fds of the next lane record; they are the caller's. */
  takeLaneFds(count: number): number[];
  /** Tells the readers of status(). */
  noteStatus(event: StatusEvent): void;
}
