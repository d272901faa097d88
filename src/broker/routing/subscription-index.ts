/**
 * Which connections want a topic: a tree over the tokens of the patterns.
 *
 *   sensors ── kitchen ── temperature   {connection 3}
 *           └─ *       ── temperature   {connection 4}
 *           └─ >                        {connections 3, 9}
 *
 * Adding, removing and matching touch only nodes along the tokens of one name, whatever else is
 * subscribed. Generic over the subscriber, so it knows nothing of connections; pure.
 */

import { isWildcard, splitTokens } from "../../protocol/topics.ts";

/** Subscribers with how many of their subscriptions. */
type Counts<Subscriber> = Map<Subscriber, number>;

class Node<Subscriber> {
  readonly children = new Map<string, Node<Subscriber>>();
  /** Subscribers whose pattern ends here, with how many of their subscriptions do. */
  readonly exact: Counts<Subscriber> = new Map();
  /** Subscribers whose pattern ends in `>` after this node. */
  readonly rest: Counts<Subscriber> = new Map();

  get isEmpty(): boolean {
    return this.children.size === 0 && this.exact.size === 0 && this.rest.size === 0;
  }
}

/** Patterns and who subscribed to them. */
export class SubscriptionIndex<Subscriber> {
  readonly #root = new Node<Subscriber>();
  #size = 0;
  #generation = 0;

  /** Subscriptions in the index. */
  get size(): number {
    return this.#size;
  }

  /** Raised when cached matches are to be forgotten: a wildcard was added or removed, or touch(). */
  get generation(): number {
    return this.#generation;
  }

  /** Raises `generation`: what matched before is to be looked at again, for another reason. */
  touch(): void {
    this.#generation += 1;
  }

  /**
   * Adds one subscription. The same subscriber may add the same pattern again.
   * @param pattern checked by checkPattern() before
   * @returns whether `generation` was raised; otherwise only the topic of this exact name changed
   */
  add(pattern: string, subscriber: Subscriber): boolean {
    const { node, isRest } = this.#descend(splitTokens(pattern));
    const place = isRest ? node.rest : node.exact;
    place.set(subscriber, (place.get(subscriber) ?? 0) + 1);
    this.#size += 1;
    return this.#changed(pattern);
  }

  /**
   * Removes one subscription that was added.
   * @returns as add()
   */
  remove(pattern: string, subscriber: Subscriber): boolean {
    this.drop(pattern, subscriber);
    return this.#changed(pattern);
  }

  /** The same, where no cached match holds the subscriber: `generation` stays. */
  drop(pattern: string, subscriber: Subscriber): void {
    this.#remove(this.#root, splitTokens(pattern), 0, subscriber);
    this.#size -= 1;
  }

  /** Everybody with at least one pattern that matches; a subscriber stands there once. */
  match(topic: string): Set<Subscriber> {
    const found = new Set<Subscriber>();
    for (const place of this.#placesOf(topic)) {
      for (const subscriber of place.keys()) found.add(subscriber);
    }
    return found;
  }

  /** The same, with how many of a subscriber's subscriptions match. */
  countMatches(topic: string): Map<Subscriber, number> {
    const found: Counts<Subscriber> = new Map();
    for (const place of this.#placesOf(topic)) {
      for (const [subscriber, count] of place) {
        found.set(subscriber, (found.get(subscriber) ?? 0) + count);
      }
    }
    return found;
  }

  #placesOf(topic: string): readonly Counts<Subscriber>[] {
    const places: Counts<Subscriber>[] = [];
    collect(this.#root, splitTokens(topic), 0, topic.startsWith("$"), places);
    return places;
  }

  #changed(pattern: string): boolean {
    const areMany = isWildcard(pattern);
    if (areMany) this.#generation += 1;
    return areMany;
  }

  #descend(tokens: readonly string[]): { node: Node<Subscriber>; isRest: boolean } {
    let node = this.#root;
    for (const token of tokens) {
      if (token === ">") return { node, isRest: true };
      let child = node.children.get(token);
      if (child === undefined) {
        child = new Node();
        node.children.set(token, child);
      }
      node = child;
    }
    return { node, isRest: false };
  }

  /** Walks down, removes, and prunes empty nodes on the way back. Depth is TOPIC_TOKENS_MAX. */
  #remove(
    node: Node<Subscriber>,
    tokens: readonly string[],
    depth: number,
    subscriber: Subscriber,
  ): void {
    const token = tokens[depth];
    if (token === undefined || token === ">") {
      const place = token === undefined ? node.exact : node.rest;
      const count = place.get(subscriber) ?? 0;
      if (count > 1) place.set(subscriber, count - 1);
      else place.delete(subscriber);
      return;
    }
    const child = node.children.get(token);
    if (child === undefined) return;
    this.#remove(child, tokens, depth + 1, subscriber);
    if (child.isEmpty) node.children.delete(token);
  }
}

/** Wildcards do not match a first token that begins with `$` (docs/protocol.md section 5). */
function collect<Subscriber>(
  node: Node<Subscriber>,
  tokens: readonly string[],
  depth: number,
  isReserved: boolean,
  places: Counts<Subscriber>[],
): void {
  const token = tokens[depth];
  if (token === undefined) {
    if (node.exact.size > 0) places.push(node.exact);
    return;
  }
  const wildcardsApply = !(isReserved && depth === 0);
  if (wildcardsApply && node.rest.size > 0) places.push(node.rest);
  const child = node.children.get(token);
  if (child !== undefined) collect(child, tokens, depth + 1, isReserved, places);
  const star = wildcardsApply ? node.children.get("*") : undefined;
  if (star !== undefined) collect(star, tokens, depth + 1, isReserved, places);
}
