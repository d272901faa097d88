/**
 * Topics that somebody has open, by name and by id. Ids are small numbers, used again once nobody
 * holds the topic; a connection that saw an id under an old name is told the new one first.
 * Holds no rights and sends nothing.
 */

import { assert } from "../assert.ts";
import type { Connection } from "./connection.ts";
import type { FdRules } from "./fd-rules.ts";
import { TOPICS_MAX } from "./limits.ts";
import type { Route } from "./route.ts";

/** A topic that at least one connection has open for publishing. */
export class Topic {
  readonly id: number;
  readonly name: string;
  /** Connections that have it open, services of this name, its last value. */
  holders = 0;
  /** Of these, connections that have it open for publishing. */
  publishers = 0;
  /** Messages that were routed since it was opened first. */
  published = 0;
  /** Of the pairs of such a message and a subscriber, those that were not delivered. */
  dropped = 0;
  /** The generation of the subscription index at which `route` was computed; -1 for never. */
  routeGeneration = -1;
  /** Destinations of `route` that do not get fds; undefined until the first message with fds. */
  withheldFrom: ReadonlySet<Connection> | undefined = undefined;
  /** Which fds it takes; valid while `fdRulesGeneration` is the policy's. */
  fdRules: FdRules | undefined = undefined;
  /** The generation of the policy that `fdRules` are from; -1 for never. */
  fdRulesGeneration = -1;

  /** Pairs up to the time when the route was set, … */
  #matched = 0;
  /** … and what was published then. */
  #publishedBefore = 0;
  #route: Route | undefined = undefined;

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
  }

  /** Where its messages go; valid while `routeGeneration` is the subscription index's. */
  get route(): Route | undefined {
    return this.#route;
  }

  set route(route: Route | undefined) {
    this.#matched = this.matched;
    this.#publishedBefore = this.published;
    this.#route = route;
  }

  /** Pairs of a message and a subscriber: not counted for each message, but for each route. */
  get matched(): number {
    const destinations = this.#route?.destinations.length ?? 0;
    return this.#matched + (this.published - this.#publishedBefore) * destinations;
  }

  /** Counts a message that does not go to all of its route. @param matched those it goes to */
  countOne(matched: number): void {
    this.published += 1;
    this.#publishedBefore += 1;
    this.#matched += matched;
  }

  /** The subscriptions changed for this topic: find its route anew at the next message. */
  forgetRoute(): void {
    this.routeGeneration = -1;
    // Connections on it may be closed by now, and must not stay in memory for a quiet topic's sake.
    this.route = undefined;
    this.withheldFrom = undefined;
  }
}

/** All topics of a broker. */
export class TopicTable {
  readonly #byName = new Map<string, Topic>();
  /** By id; there is none at 0. */
  readonly #byId: (Topic | undefined)[] = [];
  readonly #freeIds: number[] = [];
  #idsUsed = 0;

  get size(): number {
    return this.#byName.size;
  }

  /** The topic of this name, if anybody has it open. */
  find(name: string): Topic | undefined {
    return this.#byName.get(name);
  }

  /** The topics with ids above this one, in the order of their ids. */
  *above(id: number): Generator<Topic> {
    for (let next = id + 1; next < this.#byId.length; next += 1) {
      const topic = this.#byId[next];
      if (topic !== undefined) yield topic;
    }
  }

  /**
   * Adds a holder to a topic, which is made if need be.
   * @returns undefined where TOPICS_MAX topics are open
   */
  hold(name: string): Topic | undefined {
    let topic = this.#byName.get(name);
    if (topic === undefined) {
      if (this.#byName.size >= TOPICS_MAX) return undefined;
      topic = new Topic(this.#freeIds.pop() ?? this.#nextId(), name);
      this.#byName.set(name, topic);
      this.#byId[topic.id] = topic;
    }
    topic.holders += 1;
    return topic;
  }

  /** Takes a holder away; the last one frees the topic and its id. */
  release(topic: Topic): void {
    assert(topic.holders > 0, "a topic is released once by each holder");
    topic.holders -= 1;
    if (topic.holders > 0) return;
    topic.forgetRoute();
    this.#byName.delete(topic.name);
    this.#byId[topic.id] = undefined;
    this.#freeIds.push(topic.id);
  }

  /** Id 0 is never given: in a GAP frame it stands for several topics. */
  #nextId(): number {
    this.#idsUsed += 1;
    return this.#idsUsed;
  }
}
