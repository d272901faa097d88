/**
 * Whose connections are read next. In each turn of the broker every user who has something to say gets
 * the same share of time, and whoever has used least goes first: so what one user says waits for one
 * share of each other user, and not for all of another's connections, however many there are. Whoever
 * has used more than a share, because one packet took longer, waits until it has made up for that.
 *
 * Within a user connections take turns. Pure: it is told what took how long. Makes nothing for a
 * packet or a turn.
 */

import { assert } from "../../assert.ts";
import type { Connection } from "../connection.ts";
import { READING_MS_ALONE, READING_MS_PER_USER } from "../turn-limits.ts";

/** Beside EPOLL* bits: the connection has something left from an earlier turn. */
export const HAS_REST = 1 << 30;

/** Users with some of their share left that are looked at for who has used least: there may be thousands. */
const COMPARED_MAX = 64;

/** One user with connections. */
export class UserTurn {
  readonly uid: number;
  /** Where it stands among those who have something to say. */
  place = -1;
  /** How many. */
  connections = 0;
  /** It stands among those who have something to say. */
  isActive = false;
  /** Some of what it has to say was left over from an earlier round. */
  isBehind = false;
  /** Milliseconds of its share; below 0 where it has used more. */
  timeLeft = READING_MS_PER_USER;
  /** The round that `timeLeft` is of. */
  round = 0;
  readonly #waiting: Connection[] = [];
  #first = 0;

  constructor(uid: number) {
    this.uid = uid;
  }

  get isEmpty(): boolean {
    return this.#first === this.#waiting.length;
  }

  push(connection: Connection): void {
    this.#waiting.push(connection);
  }

  /** The one that has waited longest; there must be one. */
  shift(): Connection {
    const connection = this.#waiting[this.#first] as Connection;
    this.#first += 1;
    // Half of it is past: moved seldom enough to cost nothing, and it does not grow for ever.
    if (2 * this.#first >= this.#waiting.length) {
      this.#waiting.copyWithin(0, this.#first);
      this.#waiting.length -= this.#first;
      this.#first = 0;
    }
    return connection;
  }

  clear(): void {
    this.#waiting.length = 0;
    this.#first = 0;
  }
}

/** All users of one broker. */
export class UserTurns {
  readonly #byUid = new Map<number, UserTurn>();
  /** Those who have something to say; behind the first so many those who have used their share. */
  readonly #active: UserTurn[] = [];
  #ready = 0;
  /** Whose connections next() gives now. */
  #current: UserTurn | undefined;
  #round = 0;
  /** Milliseconds. */
  #share = READING_MS_ALONE;
  /** When the share of #current is used up. */
  #shareEndsAt = 0;

  /** A user has one connection more. */
  enter(uid: number): UserTurn {
    let user = this.#byUid.get(uid);
    if (user === undefined) {
      user = new UserTurn(uid);
      this.#byUid.set(uid, user);
      this.#noteUsers();
    }
    user.connections += 1;
    return user;
  }

  /** A user has one connection less. */
  leave(user: UserTurn): void {
    user.connections -= 1;
    assert(user.connections >= 0, "no more connections leave than entered");
    if (user.connections > 0) return;
    this.#byUid.delete(user.uid);
    this.#noteUsers();
  }

  /** Where there is one user alone nobody waits for it. */
  #noteUsers(): void {
    this.#share = this.#byUid.size > 1 ? READING_MS_PER_USER : READING_MS_ALONE;
  }

  /** Whether nobody has anything to say. */
  get isEmpty(): boolean {
    return this.#active.length === 0;
  }

  /**
   * A connection has something to say; once more where it stands here already.
   * @param events EPOLL* bits, or HAS_REST
   * @returns whether it may have to wait for longer than this round, behind others of its user. There
   *   may be thousands of them, so they are not to be told of again each time: they would hide others
   */
  note(connection: Connection, events: number): boolean {
    const user = connection.userTurn;
    assert(user !== undefined, "a connection that is read from has entered");
    const isNoted = connection.readyEvents !== 0;
    connection.readyEvents |= events;
    if (isNoted) return user.isBehind;
    user.push(connection);
    if (user.isActive) return user.isBehind;
    user.isActive = true;
    user.place = this.#active.length;
    this.#active.push(user);
    this.#swap(user, this.#ready);
    this.#ready += 1;
    return false;
  }

  /**
   * Everybody gets another share; what is left of the last one is lost, what is owed is not. Where all
   * who have something to say owe more than that, they get as many as one of them needs to go on.
   */
  beginRound(): void {
    this.#round += 1;
    this.#current = undefined;
    this.#ready = this.#active.length;
    let most = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < this.#active.length; index += 1) {
      const user = this.#active[index] as UserTurn;
      this.#renew(user);
      most = Math.max(most, user.timeLeft);
    }
    if (most > 0 || this.#active.length === 0) return;
    this.#round += Math.floor(-most / this.#share) + 1;
  }

  /**
   * The connection whose turn it is in this round; the caller takes its `readyEvents`.
   * @param now milliseconds, monotonic
   * @returns undefined where everybody who has something to say has used its share
   */
  next(now: number): Connection | undefined {
    const user = this.#pick();
    this.#current = user;
    if (user === undefined) {
      for (let index = 0; index < this.#active.length; index += 1) {
        (this.#active[index] as UserTurn).isBehind = true;
      }
      return undefined;
    }
    this.#shareEndsAt = now + user.timeLeft;
    const connection = user.shift();
    if (user.isEmpty) this.#deactivate(user);
    return connection;
  }

  /** Whether the user of whom next() gave a connection has some of its share left. */
  hasShareLeft(now: number): boolean {
    return now < this.#shareEndsAt;
  }

  /** Whether next() would give a connection of another user than last. */
  get isOthersTurn(): boolean {
    const next = this.#pick();
    return next !== undefined && next !== this.#current;
  }

  /** What next() gave has taken so many milliseconds. */
  charge(milliseconds: number): void {
    if (this.#current !== undefined) this.#current.timeLeft -= milliseconds;
  }

  /** A user's connection has taken so many milliseconds between the turns. */
  chargeTo(user: UserTurn, milliseconds: number): void {
    this.#renew(user);
    user.timeLeft -= milliseconds;
  }

  /** Nobody is read from any more. */
  clear(): void {
    for (const user of this.#active) {
      while (!user.isEmpty) user.shift().readyEvents = 0;
      user.isActive = false;
      user.isBehind = false;
    }
    this.#active.length = 0;
    this.#ready = 0;
    this.#current = undefined;
  }

  /** Who goes on, or else has used least of its share; undefined where nobody has any left. */
  #pick(): UserTurn | undefined {
    const current = this.#current;
    if (current?.isActive && current.timeLeft > 0) return current;
    let best: UserTurn | undefined;
    for (let index = 0; index < this.#ready && index < COMPARED_MAX; ) {
      const user = this.#active[index] as UserTurn;
      this.#renew(user);
      if (user.timeLeft <= 0) this.#setBack(user);
      else {
        if (user.timeLeft > (best?.timeLeft ?? 0)) best = user;
        index += 1;
      }
    }
    return best;
  }

  /** It has used its share: it is not looked at again in this round. */
  #setBack(user: UserTurn): void {
    this.#ready -= 1;
    this.#swap(user, this.#ready);
  }

  #swap(user: UserTurn, place: number): void {
    const other = this.#active[place] as UserTurn;
    this.#active[user.place] = other;
    other.place = user.place;
    this.#active[place] = user;
    user.place = place;
  }

  #renew(user: UserTurn): void {
    const rounds = this.#round - user.round;
    if (rounds === 0) return;
    user.round = this.#round;
    user.timeLeft = Math.min(user.timeLeft + rounds * this.#share, this.#share);
  }

  #deactivate(user: UserTurn): void {
    user.isActive = false;
    user.isBehind = false;
    if (user.place < this.#ready) this.#setBack(user);
    this.#swap(user, this.#active.length - 1);
    this.#active.length -= 1;
    user.place = -1;
  }
}
