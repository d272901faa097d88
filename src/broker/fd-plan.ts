/**
 * Who gets which fds of one message: settled for all of its receivers before any of them gets it, since
 * the publisher is charged for each copy first. Delivers nothing and charges nobody.
 */

import type { BusState } from "./bus-state.ts";
import type { Connection } from "./connection.ts";
import type { FdBundle } from "./fd-bundle.ts";
import { RESOURCE } from "./quota.ts";
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

/** What the members of one queue group may get; one of them will. */
export interface GroupShare {
  readonly group: RouteGroup;
  readonly gets: number;
  /** Those who may have so much: nobody else is asked. */
  readonly members: readonly Connection[];
}

/** Who gets which fds of one message. */
export class FdPlan {
  readonly bundle: FdBundle;
  readonly #route: Route;
  readonly #withheldFrom: ReadonlySet<Connection>;
  readonly #areAllOrNothing: boolean;
  /** Whoever has not taken earlier fds since then gets none; -Infinity: all get them. */
  #stalledSince = Number.NEGATIVE_INFINITY;
  /** For each destination of the route. */
  #gets: readonly number[] = [];
  /** For each of its queue groups. */
  groups: readonly GroupShare[] = [];
  /** Copies of fds that are to be charged. */
  copies = 0;

  constructor(state: BusState, topic: Topic, route: Route, bundle: FdBundle) {
    this.bundle = bundle;
    this.#route = route;
    this.#withheldFrom = bundle.fileCount === 0 ? NOBODY : state.fdsWithheldFrom(topic, route);
    this.#areAllOrNothing = state.fdRulesOf(topic).areAllOrNothing;
    this.#settle();
  }

  /** What a destination of the route gets, by its place there. */
  gets(place: number): number {
    return this.#gets[place] as number;
  }

  /**
   * Leaves out those who have not taken earlier fds.
   * @param since milliseconds on the broker's clock
   */
  leaveOutStalled(since: number): void {
    this.#stalledSince = since;
    this.#settle();
  }

  #settle(): void {
    const { destinations, groups } = this.#route;
    this.#gets = destinations.map((destination) => this.#getsOf(destination));
    this.groups = groups.map((group) => this.#shareOf(group));
    this.copies = 0;
    for (const gets of this.#gets) this.copies += this.#copiesOf(gets);
    for (const { group, gets } of this.groups) {
      if (group.topic !== undefined) this.copies += this.#copiesOf(gets);
    }
  }

  #copiesOf(gets: number): number {
    if (gets === GETS_ALL) return this.bundle.count;
    return gets === GETS_BODY ? this.bundle.bodyFds.length : 0;
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
