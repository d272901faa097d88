/**
 * A queue in which nobody stands behind all that somebody else has put in: users take turns, within a
 * user its connections, and within a connection it is first come, first served.
 *
 *     user 7    connection 1   a b c d e f …            out:  a x p b x' q c r d …
 *     user 8    connection 2   x      connection 3  x'
 *     user 9    connection 4   p q r
 *
 * So before an item is taken, at most one of each other user is, for each of its own user that stands
 * before it. All of it takes the same time, however many wait. Knows no limits: whoever adds has some.
 */

import { assert } from "../assert.ts";

/** Whose an item is. */
export interface Origin {
  readonly uid: number;
  /** Of one uid for ever. */
  readonly connection: number;
}

/** What can sit in a circle: made with both undefined. */
interface Seat<Node> {
  previous: Node | undefined;
  next: Node | undefined;
}

/** Nodes in a circle, and whose turn it is. Each change is O(1), and makes nothing. */
class Circle<Node extends Seat<Node>> {
  /** Whose turn it is. */
  first: Node | undefined;

  /** Seats a node behind all others. */
  push(node: Node): void {
    const next = this.first ?? node;
    const previous = next.previous ?? node;
    node.next = next;
    node.previous = previous;
    previous.next = node;
    next.previous = node;
    this.first = next;
  }

  /** Takes a node out. Where it was its turn it is that of the next one. */
  remove(node: Node): void {
    const { previous, next } = node;
    assert(previous !== undefined && next !== undefined, "who leaves a circle sits in it");
    previous.next = next;
    next.previous = previous;
    if (this.first === node) this.first = next === node ? undefined : next;
    node.previous = undefined;
    node.next = undefined;
  }

  /** Now it is the turn of the next one. */
  pass(): void {
    this.first = this.first?.next;
  }
}

/** One uid with what it has in the queue. */
class User<Item> extends Circle<Line<Item>> implements Seat<User<Item>> {
  previous: User<Item> | undefined;
  next: User<Item> | undefined;
  readonly uid: number;

  constructor(uid: number) {
    super();
    this.uid = uid;
  }
}

/** One connection with what it has in the queue. */
class Line<Item> extends Circle<Place<Item>> implements Seat<Line<Item>> {
  previous: Line<Item> | undefined;
  next: Line<Item> | undefined;
  readonly user: User<Item>;
  readonly connection: number;

  constructor(user: User<Item>, connection: number) {
    super();
    this.user = user;
    this.connection = connection;
  }
}

/** One item. */
class Place<Item> implements Seat<Place<Item>> {
  previous: Place<Item> | undefined;
  next: Place<Item> | undefined;
  readonly item: Item;
  readonly line: Line<Item>;

  constructor(item: Item, line: Line<Item>) {
    this.item = item;
    this.line = line;
  }
}

/** See the head of this file. Each item is in it once. */
export class FairQueue<Item> {
  readonly #places = new Map<Item, Place<Item>>();
  /** Those of whom something is here, and nobody else: also the two below. */
  readonly #circle = new Circle<User<Item>>();
  readonly #users = new Map<number, User<Item>>();
  readonly #lines = new Map<number, Line<Item>>();

  /** Items in it. */
  get size(): number {
    return this.#places.size;
  }

  /**
   * Adds an item behind all others of its connection. One whose broker names another uid for it than
   * before stays with the first while anything of it waits.
   */
  push(item: Item, { uid, connection }: Origin): void {
    assert(!this.#places.has(item), "an item is in a queue once");
    const line = this.#lines.get(connection) ?? this.#addLine(uid, connection);
    const place = new Place(item, line);
    line.push(place);
    this.#places.set(item, place);
  }

  /** Takes out the item whose turn it is. @returns undefined where there is none */
  shift(): Item | undefined {
    const user = this.#circle.first;
    const line = user?.first;
    const place = line?.first;
    if (user === undefined || line === undefined || place === undefined) return undefined;
    this.#remove(place);
    // Who has nothing left is out of the circle, and has passed the turn on with that.
    if (line.first !== undefined) user.pass();
    if (user.first !== undefined) this.#circle.pass();
    return place.item;
  }

  /** Takes out one item. @returns false where it is not here */
  delete(item: Item): boolean {
    const place = this.#places.get(item);
    if (place === undefined) return false;
    this.#remove(place);
    return true;
  }

  #addLine(uid: number, connection: number): Line<Item> {
    const user = this.#users.get(uid) ?? this.#addUser(uid);
    const line = new Line(user, connection);
    user.push(line);
    this.#lines.set(connection, line);
    return line;
  }

  #addUser(uid: number): User<Item> {
    const user = new User<Item>(uid);
    this.#circle.push(user);
    this.#users.set(uid, user);
    return user;
  }

  #remove(place: Place<Item>): void {
    const { line } = place;
    const { user } = line;
    this.#places.delete(place.item);
    line.remove(place);
    if (line.first !== undefined) return;
    this.#lines.delete(line.connection);
    user.remove(line);
    if (user.first !== undefined) return;
    this.#users.delete(user.uid);
    this.#circle.remove(user);
  }
}
