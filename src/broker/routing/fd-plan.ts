/**
 * Who gets which fds of one message: settled for all of its receivers before any of them gets it, since
 * the publisher is charged for each copy first. Charges nobody.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Connection } from "../connection.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import { RESOURCE } from "../quotas/quota.ts";
import type { SendQueue } from "../sending/send-queue.ts";
import type { BusState } from "./bus-state.ts";
import type { Route, RouteGroup } from "./route.ts";
import type { Topic } from "./topic-table.ts";

/** What one receiver gets; the greater, the better. No message at all. */
export const GETS_NOTHING = 0;
/** The message without any fd, because it has not taken earlier ones. */
export const GETS_NO_FDS = 1;
/** The message with its large body, and without the files that came along. */
export const GETS_BODY = 2;
/** All of it. */
export const GETS_ALL = 3;

/** The body of a large message is withheld from nobody. */
const NOBODY: ReadonlySet<Connection> = new Set();

/** How many fds a message carries; FdBundle fits. What are no files is the memory of a large body. */
export type FdCounts = Pick<FdBundle, "count" | "fileCount">;

/** What the members of one queue group may get; one of them will. */
export interface GroupShare {
  readonly group: RouteGroup;
  readonly gets: number;
  /** Those who may have so much: nobody else is asked. */
  readonly members: readonly Connection[];
}

/** A route without queue groups has none of these. */
const NO_SHARES: readonly GroupShare[] = [];

/** settle(): all get them, however long they have not taken earlier ones. */
const ALWAYS = Number.NEGATIVE_INFINITY;

/** Who gets which fds of one message; one object for all messages of a router, one after the other. */
export class FdPlan {
  readonly #state: BusState;
  /** For each destination of the route; what is behind is from wider routes. */
  readonly #gets: number[] = [];
  #withheldFrom: ReadonlySet<Connection> = NOBODY;
  #areAllOrNothing = false;
  #stalledSince = ALWAYS;
  /** For each queue group of the route. */
  groups: readonly GroupShare[] = NO_SHARES;
  /** Copies of fds that are to be charged. */
  copies = 0;

  constructor(state: BusState) {
    this.#state = state;
  }

  /** What a destination of the route gets, by its place there. */
  gets(place: number): number {
    return this.#gets[place] as number;
  }

  /**
   * Settles it for a message; what it was before is forgotten.
   * @param fds what the message carries
   * @param stalledSince milliseconds on the broker's clock: whoever has not taken earlier fds since
   *   then gets none. Left out: they do
   */
  settle(topic: Topic, route: Route, fds: FdCounts, stalledSince: number = ALWAYS): void {
    const { destinations, groups } = route;
    const state = this.#state;
    this.#withheldFrom = fds.fileCount === 0 ? NOBODY : state.fdsWithheldFrom(topic, route);
    this.#areAllOrNothing = state.fdRulesOf(topic).areAllOrNothing;
    this.#stalledSince = stalledSince;
    let copies = 0;
    for (let place = 0; place < destinations.length; place += 1) {
      const gets = this.#getsOf(destinations[place] as Connection);
      this.#gets[place] = gets;
      copies += copiesOf(fds, gets);
    }
    this.groups = groups.length === 0 ? NO_SHARES : groups.map((group) => this.#shareOf(group));
    for (const { group, gets } of this.groups) {
      if (group.topic !== undefined) copies += copiesOf(fds, gets);
    }
    this.copies = copies;
  }

  /** The message is routed: keeps no connection in memory. */
  forget(): void {
    this.#withheldFrom = NOBODY;
    this.groups = NO_SHARES;
  }

  #getsOf(receiver: Connection): number {
    const isWithheld = this.#withheldFrom.has(receiver);
    if (isWithheld && this.#areAllOrNothing) return GETS_NOTHING;
    if (this.#isStalled(receiver)) return GETS_NO_FDS;
    return isWithheld ? GETS_BODY : GETS_ALL;
  }

  #shareOf(group: RouteGroup): GroupShare {
    const each = group.members.map((member) => this.#getsOf(member));
    const gets = each.reduce((best, next) => Math.max(best, next), GETS_NOTHING);
    const members = group.members.filter((_member, place) => each[place] === gets);
    return { group, gets, members };
  }

  /** Cheap where nobody is: the time is compared only while the sender's quota runs short. */
  #isStalled({ queue, quota }: Connection): boolean {
    if (this.#stalledSince > 0 && queue.oldestFdsAt() < this.#stalledSince) return true;
    return quota.user.isOver(RESOURCE.fds);
  }
}

/**
 * Delivers a message with fds to one receiver, as it was planned.
 * @param gets not GETS_NOTHING
 * @param frameBytes the frame with its padding, from offset 0
 * @param bundle borrowed; a queue that must wait retains it
 * @returns outcome of the queue
 */
export function deliverPlanned(
  queue: SendQueue,
  gets: number,
  buffer: PinnedBuffer,
  frameBytes: number,
  bundle: FdBundle,
): number {
  if (gets === GETS_NO_FDS) return queue.deliverStalled(buffer, 0, frameBytes);
  if (gets === GETS_BODY) return queue.deliverWithheld(buffer, 0, frameBytes, bundle);
  return queue.deliverWithFds(buffer, 0, frameBytes, bundle);
}

function copiesOf({ count, fileCount }: FdCounts, gets: number): number {
  if (gets === GETS_ALL) return count;
  return gets === GETS_BODY ? count - fileCount : 0;
}
