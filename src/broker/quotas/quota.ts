/**
 * How much of the broker each user and each connection holds, and how much more it may take. Two
 * levels: a uid has a limit for each resource, and a connection may take part of what the other
 * connections of its uid leave free, half of the limit at most (shares.ts):
 *
 *     limit of the uid   ├──────────────── 16 ────────────────┤
 *     common to all      ├─────────── 12 ───────────┤
 *     held by siblings   ├─── 6 ──────┤
 *     this one may hold               ├──── 4 ──┤
 *     set aside for who holds little                ├─── 4 ───┤
 *
 * So however many greedy connections there are, their siblings and those to come get a share, and no
 * uid takes from another. A uid's limit should therefore be twice what one well-behaved connection needs.
 *
 * Pure counting: whoever charges must release, once, what was charged; also for a connection that
 * is gone, whose charges outlive it. Nobody is exempt. Nothing is allocated by a charge or release.
 */

import { assert } from "../../assert.ts";
import { CHANNEL_FDS, PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import { commonPart, Ledger } from "./ledger.ts";
import { reservedShare } from "./shares.ts";

/** What is counted, by its place in the tables of this file. */
export const RESOURCE = {
  connections: 0,
  subscriptions: 1,
  groups: 2,
  topics: 3,
  services: 4,
  queuedBytes: 5,
  retained: 6,
  retainedBytes: 7,
  fds: 8,
  pendingCalls: 9,
} as const;

/** The name of a resource. */
export type ResourceName = keyof typeof RESOURCE;

/**
 * What is charged at once, where that is more than 1. Queued bytes: a packet. Fds: both sides of a
 * channel, or two fds to two receivers.
 */
const UNIT_OF: { readonly [R in ResourceName]?: number } = {
  queuedBytes: PACKET_BYTES_MAX,
  fds: 2 * CHANNEL_FDS,
};

/** The place of a resource. */
export type Resource = (typeof RESOURCE)[ResourceName];

/**
 * What is no sum, but holds for each thing of a uid: bytes of the largest message body, milliseconds
 * that fds may wait for a client of it, and that one may hold publishers back and take nothing.
 */
export type SettingName = "messageBytes" | "fdTtlMs" | "stallMs";

/** A number for each resource and setting. */
export type Limits = { readonly [R in ResourceName | SettingName]: number };

/** The limits of one uid. */
export type LimitsOfUid = (uid: number) => Limits;

const RESOURCE_NAMES = Object.keys(RESOURCE) as ResourceName[];

/** All users that hold anything, or have a connection open. */
export class Quotas {
  readonly #users = new Map<number, UserQuota>();
  #limitsOf: LimitsOfUid;
  #generation = 0;

  /** @param limitsOf asked once for each uid and each replaceLimits() */
  constructor(limitsOf: LimitsOfUid) {
    this.#limitsOf = limitsOf;
  }

  /**
   * Puts other limits in force. What is held stays held, also above a lower limit; nothing more is
   * granted there until enough is released.
   */
  replaceLimits(limitsOf: LimitsOfUid): void {
    this.#limitsOf = limitsOf;
    this.#generation += 1;
  }

  /** Raised by each replaceLimits(). */
  get generation(): number {
    return this.#generation;
  }

  /** The limits of one uid now. */
  limitsOf(uid: number): Limits {
    return this.#limitsOf(uid);
  }

  /** The account of a new connection; to be closed with it. */
  open(uid: number): ConnectionQuota {
    return new ConnectionQuota(this.user(uid));
  }

  /** The account of a uid; undefined where it holds nothing and has no connection. */
  find(uid: number): UserQuota | undefined {
    return this.#users.get(uid);
  }

  /** The account of a uid, made where there is none. */
  user(uid: number): UserQuota {
    const known = this.#users.get(uid);
    return known ?? this.#addUser(uid);
  }

  /** Apart from user(), where room for what it captures would be made for each connection. */
  #addUser(uid: number): UserQuota {
    const user = new UserQuota(uid, this, () => {
      if (this.#users.get(uid) === user) this.#users.delete(uid);
    });
    this.#users.set(uid, user);
    return user;
  }

  /** Every account there is. */
  users(): IterableIterator<UserQuota> {
    return this.#users.values();
  }
}

/** What all connections of one uid hold together. */
export class UserQuota {
  readonly uid: number;
  readonly #quotas: Quotas;
  readonly #forget: () => void;
  /** By place; see ledger(). */
  readonly #ledgers = RESOURCE_NAMES.map(() => new Ledger());
  readonly #accounts = new Set<ConnectionQuota>();
  #settings: Pick<Limits, SettingName>;
  #generation: number;

  /**
   * Made by Quotas.user() alone.
   * @param forget called once nothing is held and no connection is open
   */
  constructor(uid: number, quotas: Quotas, forget: () => void) {
    this.uid = uid;
    this.#quotas = quotas;
    this.#forget = forget;
    this.#settings = this.#refresh();
    this.#generation = quotas.generation;
  }

  /** How much the uid holds. */
  used(resource: Resource): number {
    return (this.#ledgers[resource] as Ledger).used;
  }

  /** How much it may hold. */
  limit(resource: Resource): number {
    return this.ledger(resource).limit;
  }

  /** What each open connection of it can have, however much the others hold. */
  share(resource: Resource): number {
    return this.ledger(resource).share;
  }

  /** One resource, with the limits that are in force. For ConnectionQuota. */
  ledger(resource: Resource): Ledger {
    if (this.#generation !== this.#quotas.generation) this.#renew();
    return this.#ledgers[resource] as Ledger;
  }

  /** What holds for each thing of it. */
  setting(name: SettingName): number {
    if (this.#generation !== this.#quotas.generation) this.#renew();
    return this.#settings[name];
  }

  /** Whether the uid holds more than it may: by impose(), or since its limit was lowered. */
  isOver(resource: Resource): boolean {
    return this.used(resource) > this.limit(resource);
  }

  /**
   * Charges the uid alone, no connection of it: for what has no owner but the user, such as a
   * connection itself.
   * @param amount 0 or more
   * @returns false where it does not fit; nothing is charged then
   */
  charge(resource: Resource, amount: number): boolean {
    if (amount > 0 && this.used(resource) + amount > this.limit(resource)) return false;
    this.impose(resource, amount);
    return true;
  }

  /** Charges the uid, whether it fits or not: for what it has brought about already. */
  impose(resource: Resource, amount: number): void {
    assert(amount >= 0, "what is charged is not negative");
    (this.#ledgers[resource] as Ledger).used += amount;
  }

  /** Gives back what charge() or impose() took. */
  release(resource: Resource, amount: number): void {
    const ledger = this.#ledgers[resource] as Ledger;
    assert(ledger.used >= amount, "no more is released than was charged");
    ledger.used -= amount;
    if (ledger.used === 0) this.noteReleased();
  }

  /** Nothing is held of some resource. For ConnectionQuota. */
  noteReleased(): void {
    if (this.#accounts.size > 0) return;
    if (this.#ledgers.every(({ used }) => used === 0)) this.#forget();
  }

  /** A connection of this uid is there. For ConnectionQuota. */
  join(account: ConnectionQuota): void {
    this.#accounts.add(account);
    this.impose(RESOURCE.connections, 1);
  }

  /** A connection of this uid is gone. For ConnectionQuota. */
  leave(account: ConnectionQuota): void {
    this.#accounts.delete(account);
    this.release(RESOURCE.connections, 1);
  }

  #renew(): void {
    this.#generation = this.#quotas.generation;
    this.#settings = this.#refresh();
  }

  #refresh(): Limits {
    const limits = this.#quotas.limitsOf(this.uid);
    for (const name of RESOURCE_NAMES) {
      const share = reservedShare(limits[name], limits.connections, UNIT_OF[name] ?? 1);
      this.#setLimit(RESOURCE[name], limits[name], share);
    }
    return limits;
  }

  #setLimit(resource: Resource, limit: number, share: number): void {
    const ledger = this.#ledgers[resource] as Ledger;
    ledger.limit = limit;
    ledger.share = share;
    ledger.withinShares = 0;
    for (const account of this.#accounts) {
      ledger.withinShares += Math.min(account.used(resource), share);
    }
  }
}

/** What a connection holds that holds nothing yet; never written to. */
const NOTHING_HELD = new Float64Array(RESOURCE_NAMES.length);

/** What one connection holds. */
export class ConnectionQuota {
  readonly user: UserQuota;
  #used = NOTHING_HELD;
  #isOpen = true;

  /** Made by Quotas.open() alone. */
  constructor(user: UserQuota) {
    this.user = user;
    user.join(this);
  }

  /** How much the connection holds. */
  used(resource: Resource): number {
    return this.#used[resource] as number;
  }

  /** How much it may hold now, seen from what the others of its uid hold. */
  limit(resource: Resource): number {
    return this.limitWithout(resource, this, 0);
  }

  /**
   * How much it may hold once something was released.
   * @param payer who holds so much of it now; of this uid
   */
  limitWithout(resource: Resource, payer: ConnectionQuota, released: number): number {
    const ledger = this.user.ledger(resource);
    const own = this.used(resource);
    const share = this.#share(ledger);
    if (payer === this) return ledger.limitFor(own, share, 0, 0);
    const held = payer.used(resource);
    const ofPayer = payer.#share(ledger);
    const gone = commonPart(held, ofPayer) - commonPart(held - released, ofPayer);
    return ledger.limitFor(own, share, released, gone);
  }

  /**
   * Charges the connection, and with it its uid.
   * @param amount 0 or more
   * @returns false where it does not fit; nothing is charged then
   */
  charge(resource: Resource, amount: number): boolean {
    assert(amount >= 0, "what is charged is not negative");
    const ledger = this.user.ledger(resource);
    const own = this.used(resource);
    if (amount > 0 && !ledger.allows(own, this.#share(ledger), amount)) return false;
    this.#set(ledger, resource, own + amount);
    return true;
  }

  /** Whether charge() would take so much. @param amount 1 or more */
  hasRoomFor(resource: Resource, amount: number): boolean {
    const ledger = this.user.ledger(resource);
    return ledger.allows(this.used(resource), this.#share(ledger), amount);
  }

  /** Charges the connection, and with it its uid, whether it fits or not. */
  impose(resource: Resource, amount: number): void {
    assert(amount >= 0, "what is charged is not negative");
    this.#set(this.user.ledger(resource), resource, this.used(resource) + amount);
  }

  /** Gives back what charge() or impose() took; also after close(). */
  release(resource: Resource, amount: number): void {
    const { user } = this;
    const rest = this.used(resource) - amount;
    assert(rest >= 0, "no more is released than was charged");
    const ledger = user.ledger(resource);
    if (amount > 0) this.#set(ledger, resource, rest);
    if (ledger.used === 0) user.noteReleased();
  }

  /**
   * The connection is gone; what it holds stays charged to its uid until it is released, and to the
   * common part: its share is the next one's.
   */
  close(): void {
    assert(this.#isOpen, "an account is closed once");
    for (const name of RESOURCE_NAMES) {
      const ledger = this.user.ledger(RESOURCE[name]);
      ledger.withinShares -= Math.min(this.used(RESOURCE[name]), ledger.share);
    }
    this.#isOpen = false;
    this.user.leave(this);
  }

  #set(ledger: Ledger, resource: Resource, amount: number): void {
    if (this.#used === NOTHING_HELD) this.#used = new Float64Array(RESOURCE_NAMES.length);
    ledger.move(this.#used[resource] as number, amount, this.#share(ledger));
    this.#used[resource] = amount;
  }

  /** What it can have however much the others hold: a connection that is gone, nothing. */
  #share(ledger: Ledger): number {
    return this.#isOpen ? ledger.share : 0;
  }
}
