/**
 * Topics that somebody has open, by name and by id. Ids are small numbers, used again once nobody
 * holds the topic; a connection that saw an id under an old name is told the new one first.
 * Holds no rights and sends nothing.
 */

import { assert } from "../../assert.ts";
import type { Connection } from "../connection.ts";
import type { FdRules } from "../fds/fd-rules.ts";
import { FoldedSums, type OTHERS, type SumKind } from "../figures/folded-sums.ts";
import { GROUP_TOPICS_MAX, TOPICS_MAX } from "./limits.ts";
import { EMPTY_ROUTE, type Route } from "./route.ts";

/** What came of the messages on a topic. */
export interface TopicSum {
  published: number;
  matched: number;
  dropped: number;
}

const SUM: SumKind<TopicSum> = {
  zero: () => ({ published: 0, matched: 0, dropped: 0 }),
  add(into, { published, matched, dropped }) {
    into.published += published;
    into.matched += matched;
    into.dropped += dropped;
  },
};

/** A topic that at least one connection has open for publishing. */
export class Topic {
  readonly id: number;
  readonly name: string;
  /** The queue group whose messages bear the id; undefined for the topic itself. */
  readonly group: string | undefined;
  /** Connections that have it open, services of this name, its last value. */
  holders = 0;
  /** Of these, connections that have it open for publishing. */
  publishers = 0;
  /** Messages that were routed since the start; of a name that was forgotten for long, since then. */
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
  /** Destinations of `route` that do not know the id yet; undefined for none. */
  untold: Connection[] | undefined = undefined;
  /** Ids for the messages of queue groups on it, by group; undefined where there never was one. */
  groupTopics: Map<string, GroupTopic> | undefined = undefined;

  /** Pairs up to the time when the route was set, … */
  #matched = 0;
  /** … and what was published then. */
  #publishedBefore = 0;
  #route: Route | undefined = undefined;

  constructor(id: number, name: string, group?: string) {
    this.id = id;
    this.name = name;
    this.group = group;
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

  /** Pairs of a message and a subscriber or group: not counted for each message, but for each route. */
  get matched(): number {
    const { destinations, groups } = this.#route ?? EMPTY_ROUTE;
    const each = destinations.length + groups.length;
    return this.#matched + (this.published - this.#publishedBefore) * each;
  }

  /** Goes on counting where an earlier topic of this name has stopped. */
  resume({ published, matched, dropped }: Readonly<TopicSum>): void {
    this.published = published;
    this.#publishedBefore = published;
    this.#matched = matched;
    this.dropped = dropped;
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

/** A topic for one queue group: the same name, and an id of its own. */
export class GroupTopic extends Topic {
  /** Place of the member whose turn it is, among the members of its route. */
  turn = 0;
}

/** All topics of a broker. */
export class TopicTable {
  readonly #byName = new Map<string, Topic>();
  /** By id; there is none at 0. */
  readonly #byId: (Topic | undefined)[] = [];
  readonly #freeIds: number[] = [];
  #idsUsed = 0;
  /** Of topics that are gone. */
  readonly #gone = new FoldedSums<string, TopicSum>(SUM);
  #groupTopics = 0;

  get size(): number {
    return this.#byName.size;
  }

  /** The topic of this name, if anybody has it open. */
  find(name: string): Topic | undefined {
    return this.#byName.get(name);
  }

  /** What came of topics that nobody holds any more; OTHERS for those not kept apart. */
  goneSums(): Iterable<[name: string | typeof OTHERS, Readonly<TopicSum>]> {
    return this.#gone.entries();
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
      topic = new Topic(this.#takeId(), name);
      const before = this.#gone.take(name);
      if (before !== undefined) topic.resume(before);
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
    if (topic.published > 0) this.#gone.fold(topic.name, topic);
    this.keepGroups(topic, new Set());
    this.#byName.delete(topic.name);
    this.#byId[topic.id] = undefined;
    this.#freeIds.push(topic.id);
  }

  /**
   * The topic that stands for a queue group on another; it is made if need be, and goes with it.
   * @returns undefined where GROUP_TOPICS_MAX of them are in use
   */
  groupTopic(topic: Topic, group: string): GroupTopic | undefined {
    const known = topic.groupTopics?.get(group);
    if (known !== undefined) return known;
    if (this.#groupTopics >= GROUP_TOPICS_MAX) return undefined;
    this.#groupTopics += 1;
    const made = new GroupTopic(this.#takeId(), topic.name, group);
    topic.groupTopics ??= new Map();
    topic.groupTopics.set(group, made);
    return made;
  }

  /** Frees the ids of a topic's groups but for these. */
  keepGroups(topic: Topic, kept: ReadonlySet<string>): void {
    for (const [group, { id }] of topic.groupTopics ?? []) {
      if (kept.has(group)) continue;
      topic.groupTopics?.delete(group);
      this.#groupTopics -= 1;
      this.#freeIds.push(id);
    }
  }

  #takeId(): number {
    return this.#freeIds.pop() ?? this.#nextId();
  }

  /** Id 0 is never given: in a GAP frame it stands for several topics. */
  #nextId(): number {
    this.#idsUsed += 1;
    return this.#idsUsed;
  }
}
