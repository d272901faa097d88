/**
 * Gives last values to new subscribers: before anything newer on the same topic, a little at a time,
 * and no faster than they read. What each is to be given is replay-feed.ts's.
 *
 * A subscriber whose queue holds much waits until it has been written out, and nobody looks at it
 * until then. A live message that overtakes the feed takes the value of its topic along (giveBefore),
 * since a topic's route is always computed between a subscription and the first message that it gets.
 */

import { isWildcard } from "../../protocol/topics.ts";
import type { Connection } from "../connection.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { Introductions } from "../routing/introductions.ts";
import type { Topic } from "../routing/topic-table.ts";
import { type DeliveryHost, noteDelivery } from "../sending/delivery.ts";
import { PEER_GONE } from "../sending/queue-outcomes.ts";
import type { SendQueue } from "../sending/send-queue.ts";
import {
  REPLAY_QUEUE_BYTES_MAX,
  REPLAY_QUEUE_FDS_MAX,
  REPLAY_QUEUE_MEMORY_BYTES_MAX,
  REPLAY_STEPS_PER_LOOK,
} from "./limits.ts";
import { FINISHED, ReplayFeed, SEARCHING } from "./replay-feed.ts";
import type { RetainedTable } from "./retained-table.ts";
import { type Origin, type RetainedValue, shareFds } from "./retained-value.ts";

/** What values are given with. */
export interface ReplayParts {
  readonly table: RetainedTable;
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly inFlight: Pick<FdsInFlight, "counters" | "tick">;
  readonly host: DeliveryHost;
}

/** Feeds of all connections. One for a broker. */
export class Replay {
  readonly #parts: ReplayParts;
  readonly #feeds = new Map<Connection, ReplayFeed>();
  /** Those whose turn will come, the next one first; the others wait for their queue. */
  readonly #ready = new Set<Connection>();
  /** Senders that are gone and that a client was told of for the values at hand. */
  readonly #dead: { destination: Connection; origin: Origin }[] = [];

  constructor(parts: ReplayParts) {
    this.#parts = parts;
  }

  /** Whether run() has nothing to do now. */
  get isIdle(): boolean {
    return this.#ready.size === 0;
  }

  /** Connections that are still to be given values, or may be. */
  get size(): number {
    return this.#feeds.size;
  }

  /** A subscription was made: the last values that it matches are for it. */
  begin(connection: Connection, subscription: number, pattern: string): void {
    const { table } = this.#parts;
    if (table.size === 0) return;
    const isPattern = isWildcard(pattern);
    const value = table.find(pattern);
    if (!isPattern && value === undefined) return;
    let feed = this.#feeds.get(connection);
    if (feed === undefined) {
      feed = new ReplayFeed(table, (number) => connection.subscriptions.has(number));
      this.#feeds.set(connection, feed);
      this.#ready.add(connection);
    }
    if (value === undefined || isPattern) feed.addPattern(subscription, pattern);
    else feed.addNamed(subscription, value);
  }

  /** A message on this topic is about to be delivered to a connection for the first time. */
  readonly giveBefore = (destination: Connection, topic: Topic): void => {
    if (this.#feeds.size === 0) return;
    const value = this.#parts.table.find(topic.name);
    if (value === undefined) return;
    if (this.#feeds.get(destination)?.takeEarly(value) !== true) return;
    this.#give(destination, value);
    this.#tellDead();
  };

  /**
   * Gives values to those who take them, in turn, while there is time; some at least.
   * @param hasTime asked now and then
   */
  run(hasTime: () => boolean): void {
    for (const connection of this.#ready) {
      this.#ready.delete(connection);
      this.#step(connection);
      this.#tellDead();
      if (!hasTime()) return;
    }
  }

  /** The connection's queue was written out, perhaps in part. */
  readonly wake = (connection: Connection): void => {
    if (this.#feeds.size === 0) return;
    if (this.#feeds.has(connection) && hasRoom(connection.queue)) this.#ready.add(connection);
  };

  /** The connection has ended. */
  leave(connection: Connection): void {
    this.#feeds.delete(connection);
    this.#ready.delete(connection);
  }

  /** Nobody is given anything more. */
  clear(): void {
    this.#feeds.clear();
    this.#ready.clear();
  }

  #step(connection: Connection): void {
    const feed = this.#feeds.get(connection);
    if (feed === undefined) return;
    for (let steps = 0; steps < REPLAY_STEPS_PER_LOOK; steps += 1) {
      if (connection.state === "DOOMED") return this.leave(connection);
      if (!hasRoom(connection.queue)) return;
      const next = feed.advance();
      if (next === FINISHED) return this.leave(connection);
      if (next !== SEARCHING) this.#give(connection, next);
    }
    // A value that was given may have been the end of its connection.
    if (this.#feeds.has(connection)) this.#ready.add(connection);
  }

  /** Delivers one value, if the policy lets this connection read its topic. */
  #give(destination: Connection, value: RetainedValue): void {
    const { state, introductions } = this.#parts;
    const { topic, bundle } = value;
    if (!state.decide(destination, "subscribe", topic.name).allowed) return;
    const isWithheld =
      bundle !== undefined &&
      bundle.fileCount > 0 &&
      !state.decide(destination, "receive-fds", topic.name).allowed;
    if (isWithheld && state.fdRulesOf(topic).areAllOrNothing) return;
    introductions.introduceTopic(destination, topic);
    this.#introduceOrigin(destination, value.origin);
    const outcome = this.#deliver(destination, value, isWithheld);
    if (outcome === PEER_GONE) this.leave(destination);
    noteDelivery(this.#parts.host, destination, outcome);
  }

  #deliver(destination: Connection, value: RetainedValue, isWithheld: boolean): number {
    const { frame, bundle } = value;
    const { queue } = destination;
    if (bundle === undefined) return queue.deliver(frame, 0, frame.byteLength);
    const { inFlight } = this.#parts;
    inFlight.tick();
    const copies = isWithheld ? bundle.bodyFds.length : bundle.count;
    if (!charge(destination, copies)) {
      inFlight.counters.stalled += copies;
      return queue.deliverStalled(frame, 0, frame.byteLength);
    }
    const shared = shareFds(bundle, destination.fdAccount);
    const outcome = isWithheld
      ? queue.deliverWithheld(frame, 0, frame.byteLength, shared)
      : queue.deliverWithFds(frame, 0, frame.byteLength, shared);
    shared.release();
    return outcome;
  }

  #introduceOrigin(destination: Connection, origin: Origin): void {
    const { introductions } = this.#parts;
    if (origin.connection !== undefined) {
      return introductions.introduceSender(destination, origin.connection);
    }
    if (this.#dead.some((told) => told.destination === destination && told.origin === origin)) {
      return;
    }
    introductions.tellSender(destination, origin.id, origin.identity);
    this.#dead.push({ destination, origin });
  }

  /** Values of senders that are gone stand behind them for a moment only, so no client keeps these. */
  #tellDead(): void {
    for (const { destination, origin } of this.#dead) {
      this.#parts.introductions.tellGone(destination, origin.id);
    }
    this.#dead.length = 0;
  }
}

/** Whether any one value fits the queue, so that none is lost. */
function hasRoom(queue: SendQueue): boolean {
  if (queue.losses.isShedding || queue.queuedBytes > REPLAY_QUEUE_BYTES_MAX) return false;
  if (queue.queuedFds > REPLAY_QUEUE_FDS_MAX) return false;
  return queue.queuedMemoryBytes <= REPLAY_QUEUE_MEMORY_BYTES_MAX;
}

/** Its sender may be long gone, so whoever is given a last value pays for the copies of its files. */
function charge({ fdAccount, queue }: Connection, copies: number): boolean {
  if (fdAccount.charge(copies)) return true;
  queue.outlet.look();
  return fdAccount.charge(copies);
}
