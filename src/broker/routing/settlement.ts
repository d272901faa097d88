/**
 * What becomes of messages of publishers, once a queue has said so: the figures of sender and receiver,
 * and what follows for the receiver's queue. Topics have their own (router.ts).
 */

import type { Connection } from "../connection.ts";
import { type DeliveryHost, noteDelivery } from "../sending/delivery.ts";
import { ACCEPTED } from "../sending/queue-outcomes.ts";
import type { Topic } from "./topic-table.ts";

/** Messages on one topic, of one sender. */
export interface Publication {
  readonly sender: Connection;
  readonly topic: Topic;
}

/** Settles messages. One for a router. */
export class Settlement {
  readonly #host: DeliveryHost;

  constructor(host: DeliveryHost) {
    this.#host = host;
  }

  /**
   * Books what became of some messages for one of their receivers.
   * @param outcome of the receiver's queue
   * @param bytes of all of them
   * @returns whether they were delivered
   */
  settle(
    sender: Connection,
    destination: Connection,
    outcome: number,
    messages: number,
    bytes: number,
  ): boolean {
    const isDelivered = outcome === ACCEPTED;
    if (isDelivered) {
      destination.figures.received += messages;
      destination.figures.receivedBytes += bytes;
      if (destination.watchedFd >= 0) sender.counters.queued += messages;
    } else {
      destination.figures.missed += messages;
      sender.counters.dropped += messages;
    }
    noteDelivery(this.#host, destination, outcome);
    return isDelivered;
  }
}
