/**
 * A route: the set of connections that a topic's messages go to. Routes are interned, so topics
 * with the same subscribers share one, and neighbouring messages on such topics leave in one copy.
 * A route with queue groups is its topic's alone, since their messages bear ids of their own.
 */

import type { Connection } from "../connection.ts";
import type { GroupTopic } from "./topic-table.ts";

/** The members of one queue group that take the messages of one topic, one of them each. */
export interface RouteGroup {
  /** Whose id its messages bear; undefined where there are too many groups: all of it is lost. */
  readonly topic: GroupTopic | undefined;
  /** One or more. */
  readonly members: readonly Connection[];
  /** Whether publishers are held back where no member takes more. */
  readonly isBlocking: boolean;
}

/** An unchanging set of destinations. Compared by identity. */
export interface Route {
  readonly destinations: readonly Connection[];
  /** Of these, the ones for which publishers are held back where they read too slowly. */
  readonly blocking: readonly Connection[];
  readonly groups: readonly RouteGroup[];
}

const NO_CONNECTIONS: readonly Connection[] = [];
const NO_GROUPS: readonly RouteGroup[] = [];

/** The route of a topic that nobody listens to. */
export const EMPTY_ROUTE: Route = makeRoute(NO_CONNECTIONS);

/** A route that is not interned. */
export function makeRoute(
  destinations: readonly Connection[],
  blocking: readonly Connection[] = NO_CONNECTIONS,
  groups: readonly RouteGroup[] = NO_GROUPS,
): Route {
  return { destinations, blocking, groups };
}

/** Interned routes kept at most; beyond it all are forgotten, which only costs sharing. */
const ROUTES_INTERNED_MAX = 16_384;

/** Makes routes, the same one for the same connections with the same wishes. */
export class RouteTable {
  readonly #byKey = new Map<string, Route>();

  /**
   * @param destinations in any order, without repeats; sorted in place
   * @param blocking those of them that hold publishers back
   * @returns the one Route object for these
   */
  intern(destinations: Connection[], blocking: Connection[] = []): Route {
    if (destinations.length === 0) return EMPTY_ROUTE;
    destinations.sort((a, b) => a.id - b.id);
    let key = destinations.map((connection) => connection.id).join(" ");
    if (blocking.length > 0) key += `,${blocking.map(({ id }) => id).sort()}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#byKey.size >= ROUTES_INTERNED_MAX) this.#byKey.clear();
    const route = makeRoute(destinations, blocking.length > 0 ? blocking : NO_CONNECTIONS);
    this.#byKey.set(key, route);
    return route;
  }

  /** Connections went away: their routes must not keep them in memory. */
  forgetAll(): void {
    this.#byKey.clear();
  }
}
