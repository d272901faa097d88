/**
 * Messages with fds: from their publisher to the send queues of the subscribers, one at a time. Who
 * gets which fds is planned, and the sender charged for all copies, before any is on its way.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Connection, OpenTopic } from "../connection.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import { FDS_STALLED_MS } from "../fds/limits.ts";
import {
  deliverPlanned,
  type FdCounts,
  type FdPlan,
  GETS_NO_FDS,
  GETS_NOTHING,
} from "./fd-plan.ts";
import type { GroupDelivery } from "./group-delivery.ts";
import type { Introductions } from "./introductions.ts";
import { FDS_TOGETHER_RECEIVERS_MAX } from "./limits.ts";
import type { Route } from "./route.ts";
import type { RouteFinder } from "./route-finder.ts";
import type { Publication, Settlement } from "./settlement.ts";
import type { Topic } from "./topic-table.ts";

/** What the routing of fds is made from. */
export interface FdRoutingParts {
  readonly plan: FdPlan;
  readonly routes: RouteFinder;
  readonly groups: GroupDelivery<Publication>;
  readonly introductions: Introductions;
  readonly settlement: Settlement;
  readonly inFlight: FdsInFlight;
}

/** Routes messages with fds. One for a router; not reentrant. */
export class FdRouting {
  /** For the message that is being routed. */
  readonly #plan: FdPlan;
  readonly #routes: RouteFinder;
  readonly #groups: GroupDelivery<Publication>;
  readonly #introductions: Introductions;
  readonly #settlement: Settlement;
  readonly #fdsInFlight: FdsInFlight;

  constructor(parts: FdRoutingParts) {
    this.#plan = parts.plan;
    this.#routes = parts.routes;
    this.#groups = parts.groups;
    this.#introductions = parts.introductions;
    this.#settlement = parts.settlement;
    this.#fdsInFlight = parts.inFlight;
  }

  /**
   * Routes one message that carries fds. The sender's right to send them on the topic, and their
   * kinds, are the caller's to check. The sender is charged for each copy before any is on its way.
   * @param frameBytes the frame with its padding, from offset 0
   * @param bundle borrowed, paid by the sender; queues that must wait retain it
   * @returns 0; or where the copies do not fit the sender's quota, how many they would have been,
   *   with nothing delivered
   */
  route(
    sender: Connection,
    open: OpenTopic,
    buffer: PinnedBuffer,
    frameBytes: number,
    bundle: FdBundle,
  ): number {
    buffer.words[3] = sender.id;
    const route = this.#routes.routeFor(sender, open);
    const plan = this.#plan;
    plan.settle(open.topic, route, bundle);
    this.#leaveOutStalled(sender, open.topic, route, bundle);
    if (!sender.fdAccount.charge(plan.copies)) return plan.copies;
    const { follow } = this.#fdsInFlight;
    if (route.destinations.length > FDS_TOGETHER_RECEIVERS_MAX) this.#fdsInFlight.follow = false;
    const matched = this.#deliver(sender, open.topic, route, buffer, frameBytes, bundle);
    this.#fdsInFlight.follow = follow;
    sender.counters.published += 1;
    sender.counters.matched += matched;
    sender.figures.publishedBytes += frameBytes;
    open.topic.countOne(matched);
    plan.forget();
    return 0;
  }

  /** How many copies of fds would be charged if such a message were routed now. */
  countCopies(sender: Connection, open: OpenTopic, fds: FdCounts): number {
    const plan = this.#plan;
    plan.settle(open.topic, this.#routes.routeFor(sender, open), fds);
    plan.forget();
    return plan.copies;
  }

  /** Hands a message with fds to all of its receivers, as it was planned. @returns how many */
  #deliver(
    sender: Connection,
    topic: Topic,
    { destinations }: Route,
    buffer: PinnedBuffer,
    frameBytes: number,
    bundle: FdBundle,
  ): number {
    const plan = this.#plan;
    let matched = 0;
    for (let place = 0; place < destinations.length; place += 1) {
      const gets = plan.gets(place);
      if (gets === GETS_NOTHING) continue;
      const destination = destinations[place] as Connection;
      const outcome = deliverPlanned(destination.queue, gets, buffer, frameBytes, bundle);
      if (gets === GETS_NO_FDS) this.#fdsInFlight.counters.stalled += bundle.count;
      if (!this.#settlement.settle(sender, destination, outcome, 1, frameBytes)) topic.dropped += 1;
      matched += 1;
    }
    for (const share of plan.groups) {
      if (share.group.topic?.untold !== undefined) this.#introductions.tellLate(share.group.topic);
      if (share.gets === GETS_NO_FDS) this.#fdsInFlight.counters.stalled += bundle.count;
      const publication = { sender, topic };
      const message = { buffer, frameBytes, bundle };
      if (this.#groups.deliverWithFds(publication, share, message)) matched += 1;
    }
    return matched;
  }

  /**
   * Where the copies of fds would use up more than half of what the sender may have on its way,
   * clients that take none are left out: otherwise a few of them could keep its fds from everybody.
   */
  #leaveOutStalled({ fdAccount }: Connection, topic: Topic, route: Route, bundle: FdBundle): void {
    const plan = this.#plan;
    const now = this.#fdsInFlight.tick();
    if (!fdAccount.isStrainedBy(plan.copies)) return;
    for (const { queue } of route.destinations) queue.lookForTaken();
    for (const { members } of route.groups) {
      for (const { queue } of members) queue.lookForTaken();
      this.#routes.cost += members.length;
    }
    this.#routes.cost += route.destinations.length;
    if (!fdAccount.isStrainedBy(plan.copies)) return;
    plan.settle(topic, route, bundle, now - FDS_STALLED_MS);
  }
}
