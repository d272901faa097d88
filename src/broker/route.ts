/**
 * A route: the set of connections that a topic's messages go to. Routes are interned, so topics
 * with the same subscribers share one, and neighbouring messages on such topics leave in one copy.
 */

import type { Connection } from "./connection.ts";

/** An unchanging set of destinations. Compared by identity. */
export interface Route {
  readonly destinations: readonly Connection[];
}

/** The route of a topic that nobody listens to. */
export const EMPTY_ROUTE: Route = { destinations: [] };

/** Interned routes kept at most; beyond it all are forgotten, which only costs sharing. */
const ROUTES_INTERNED_MAX = 16_384;

/** Makes routes, the same one for the same connections. */
export class RouteTable {
  readonly #byKey = new Map<string, Route>();

  /**
   * @param destinations in any order, without repeats; sorted in place
   * @returns the one Route object for this set
   */
  intern(destinations: Connection[]): Route {
    if (destinations.length === 0) return EMPTY_ROUTE;
    destinations.sort((a, b) => a.id - b.id);
    const key = destinations.map((connection) => connection.id).join(" ");
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    if (this.#byKey.size >= ROUTES_INTERNED_MAX) this.#byKey.clear();
    const route: Route = { destinations };
    this.#byKey.set(key, route);
    return route;
  }

  /** Connections went away: their routes must not keep them in memory. */
  forgetAll(): void {
    this.#byKey.clear();
  }
}
