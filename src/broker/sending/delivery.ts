/** What follows from handing a frame to a send queue, wherever it came from. */

import type { Connection } from "../connection.ts";
import type { RouterHost } from "../routing/router.ts";
import { PEER_GONE, SLOW_READER } from "./queue-outcomes.ts";

/** What becomes of queues that got something. */
export type DeliveryHost = Pick<RouterHost, "noteUnflushed" | "notePeerGone" | "noteSlowReader">;

/**
 * Sees to it that a queue is flushed at the end of the turn, or its connection looked after.
 * @param outcome of SendQueue.deliver() or deliverWithFds()
 */
export function noteDelivery(host: DeliveryHost, receiver: Connection, outcome: number): void {
  if (outcome === PEER_GONE) host.notePeerGone(receiver);
  else if (outcome === SLOW_READER) host.noteSlowReader(receiver);
  else if (!receiver.isUnflushed && receiver.watchedFd < 0 && receiver.queue.needsFlush) {
    host.noteUnflushed(receiver);
  }
}
