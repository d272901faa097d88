/**
 * All connections of a broker: places (slots) for the reactor's tokens, ids that no two of them
 * share, and how many each user has. Counting only; sockets are broker.ts's.
 */

import { assert } from "../assert.ts";
import type { Connection } from "./connection.ts";
import { IdSequence } from "./id-sequence.ts";
import {
  ADMINISTRATORS_EXTRA_MAX,
  AWAITING_HELLO_PER_UID_MAX,
  CONNECTIONS_MAX,
  CONNECTIONS_PER_UID_MAX,
} from "./limits.ts";
import type { Excess } from "./quotas/excess.ts";
import { limitOfAllFor, MODEST } from "./quotas/reserve.ts";

/** Choices for one table. */
export interface ConnectionTableOptions {
  /** At most CONNECTIONS_MAX, the default; less where the process may hold fewer fds. */
  readonly connectionsMax?: number;
  /** There is one user alone, who need not leave room for others. Default false. */
  readonly servesOneUid?: boolean;
  /** Default: from 1 on. */
  readonly ids?: IdSequence;
}

interface UserCount {
  connections: number;
  /** Of these, let in beyond the limits. */
  extras: number;
  /** Those that have not said HELLO, oldest first. */
  readonly awaitingHello: Set<Connection>;
}

const NO_CONNECTIONS = { connections: 0, extras: 0 };

/** Connections by slot, with the counts that limits need. */
export class ConnectionTable {
  readonly #bySlot: (Connection | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #byUid = new Map<number, UserCount>();
  /** All that have not said HELLO, oldest first. */
  readonly #awaitingHello = new Set<Connection>();
  /** The first of them; undefined where there is none, or it is to be looked up again. */
  #oldestAwaiting: Connection | undefined;
  readonly #connectionsMax: number;
  /** What the broker's own room allows, whatever the quota says. */
  readonly #connectionsPerUidMax: number;
  readonly #servesOneUid: boolean;
  readonly #ids: IdSequence;
  readonly #byId = new Map<number, Connection>();
  /** Let in beyond the limits, and not counted in them. */
  #extras = 0;
  #size = 0;

  constructor(options: ConnectionTableOptions = {}) {
    const { connectionsMax = CONNECTIONS_MAX, servesOneUid = false } = options;
    this.#connectionsMax = Math.min(connectionsMax, CONNECTIONS_MAX);
    const share = servesOneUid ? connectionsMax : Math.max(1, Math.floor(connectionsMax / 2));
    this.#connectionsPerUidMax = share;
    this.#servesOneUid = servesOneUid;
    this.#ids = options.ids ?? new IdSequence();
  }

  get size(): number {
    return this.#size;
  }

  /** The connection in a slot, if any. */
  at(slot: number): Connection | undefined {
    return this.#bySlot[slot];
  }

  /** The connection with this id, if it is still there. */
  withId(id: number): Connection | undefined {
    return this.#byId.get(id);
  }

  /** Every connection. */
  *all(): Generator<Connection> {
    for (const connection of this.#bySlot) if (connection !== undefined) yield connection;
  }

  /** Those in this slot and behind it, in the order of slots. */
  *from(slot: number): Generator<Connection> {
    for (let next = slot; next < this.#bySlot.length; next += 1) {
      const connection = this.#bySlot[next];
      if (connection !== undefined) yield connection;
    }
  }

  /** The connection that has waited longest without saying HELLO. */
  oldestAwaitingHello(): Connection | undefined {
    // Asked several times a turn: an iterator each time would be most of what there is to collect.
    if (this.#awaitingHello.size === 0) return undefined;
    this.#oldestAwaiting ??= firstOf(this.#awaitingHello);
    return this.#oldestAwaiting;
  }

  /**
   * Asks whether one more connection of this user is within the limits.
   * @param perUidMax of this uid, by its quota
   * @returns undefined where it is, else which figure has reached which limit
   */
  excessFor(uid: number, perUidMax: number = CONNECTIONS_PER_UID_MAX): Excess | undefined {
    const resource = "connections";
    const { connections: actual, extras } = this.#byUid.get(uid) ?? NO_CONNECTIONS;
    const all = this.#size - this.#extras;
    const limitOfAll = this.#limitOfAllFor(actual - extras);
    if (all >= limitOfAll) {
      return { resource, actual: this.#size, limit: limitOfAll, extras: this.#extras };
    }
    const limit = Math.min(perUidMax, this.#connectionsPerUidMax);
    return actual - extras < limit ? undefined : { resource, actual, limit, uid, extras };
  }

  #limitOfAllFor(own: number): number {
    if (this.#servesOneUid) return this.#connectionsMax;
    return limitOfAllFor(this.#connectionsMax, own, MODEST.connections);
  }

  /**
   * Lets an administrator's connection stay that is beyond the limits.
   * @returns false where there are as many such as there may be
   */
  keepExtra(connection: Connection): boolean {
    if (this.#extras >= ADMINISTRATORS_EXTRA_MAX) return false;
    const user = this.#byUid.get(connection.identity.uid);
    assert(user !== undefined, "a connection that stays was added");
    this.#extras += 1;
    user.extras += 1;
    connection.isExtra = true;
    return true;
  }

  readonly #isTaken = (id: number): boolean => this.#byId.has(id);

  /** A slot and an id for the next connection; the slot is free until add() takes it. */
  nextPlace(): { slot: number; id: number } {
    const slot = this.#freeSlots[this.#freeSlots.length - 1] ?? this.#bySlot.length;
    return { slot, id: this.#ids.next(this.#isTaken) };
  }

  /**
   * Adds a connection that awaits HELLO, with the place that nextPlace() gave.
   * @returns the oldest awaiting connection of the same user, where it now has too many of them
   */
  add(connection: Connection): Connection | undefined {
    this.#freeSlots.pop();
    this.#byId.set(connection.id, connection);
    this.#bySlot[connection.slot] = connection;
    this.#size += 1;
    if (this.#awaitingHello.size === 0) this.#oldestAwaiting = connection;
    this.#awaitingHello.add(connection);
    const { uid } = connection.identity;
    const user = this.#byUid.get(uid) ?? { connections: 0, extras: 0, awaitingHello: new Set() };
    this.#byUid.set(uid, user);
    user.connections += 1;
    user.awaitingHello.add(connection);
    if (user.awaitingHello.size <= AWAITING_HELLO_PER_UID_MAX) return undefined;
    return firstOf(user.awaitingHello);
  }

  /** The connection said HELLO, or will not live to. */
  noteHello(connection: Connection): void {
    this.#awaitingHello.delete(connection);
    if (this.#oldestAwaiting === connection) this.#oldestAwaiting = undefined;
    this.#byUid.get(connection.identity.uid)?.awaitingHello.delete(connection);
  }

  /** Frees the slot. The socket must be closed, so that no event can name the slot any more. */
  remove(connection: Connection): void {
    this.noteHello(connection);
    this.#bySlot[connection.slot] = undefined;
    this.#byId.delete(connection.id);
    this.#freeSlots.push(connection.slot);
    this.#size -= 1;
    const { uid } = connection.identity;
    const user = this.#byUid.get(uid);
    assert(user !== undefined, "a connection that leaves was added");
    user.connections -= 1;
    if (connection.isExtra) {
      this.#extras -= 1;
      user.extras -= 1;
    }
    if (user.connections === 0) this.#byUid.delete(uid);
  }
}

function firstOf(connections: ReadonlySet<Connection>): Connection | undefined {
  return connections.values().next().value;
}
