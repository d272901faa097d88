/**
 * How one limit of a user is shared out among its connections. Pure arithmetic; counting is quota.ts's.
 *
 *     limit of the uid   ├───────── common: three quarters ─────────┤── set aside ──┤
 *     who may take it     a connection: two thirds of what its       a share for each that
 *                         siblings leave free here                   may ever be there
 *
 * A connection that holds no more than its share holds it in the quarter that is set aside, and takes
 * nothing from the common part. So the shares add up to less than the limit, whatever the others do.
 */

import { assert } from "../../assert.ts";
import { ADMINISTRATORS_EXTRA_MAX, CONNECTIONS_MAX } from "../limits.ts";

/** One of so many parts of a limit is set aside. */
export const SET_ASIDE = 4;

/**
 * What each connection of a user can have, however much the others hold. Never less than one unit where
 * that much can be set aside, nor than 1 where anything can: then it is there for as many connections
 * as that is enough for.
 * @param limit what all connections of the user may hold together
 * @param connectionsMax how many there may be, administrators beyond the limit aside
 * @param unit what is charged at once; of less nothing could be had
 */
export function reservedShare(limit: number, connectionsMax: number, unit: number): number {
  const aside = Math.floor(limit / SET_ASIDE);
  if (aside === 0) return 0;
  const connections = Math.min(connectionsMax, CONNECTIONS_MAX) + ADMINISTRATORS_EXTRA_MAX;
  const least = unit <= aside ? unit : 1;
  return Math.max(least, Math.floor(aside / connections));
}

/**
 * What one connection may hold of the common part: half of the limit where its siblings hold nothing
 * of it. 0 where they hold all, or more.
 * @param commonOfOthers what they hold of it
 */
export function commonLimit(limit: number, commonOfOthers: number): number {
  assert(commonOfOthers >= 0, "nobody holds less than nothing");
  const common = limit - limit / SET_ASIDE;
  return Math.max(0, Math.floor(((common - commonOfOthers) * 2) / 3));
}
