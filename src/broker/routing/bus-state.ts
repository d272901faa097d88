/**
 * What all connections share: topics, subscriptions, routes, the policy. Computes where a topic's
 * messages go, which fds they may carry and who may have those; all once for each change, never for
 * each message.
 * Touches no socket.
 */

import { assert } from "../../assert.ts";
import { LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import { isReservedTopic, isWildcard } from "../../protocol/topics.ts";
import type { Connection, GroupMember, SubscriptionWish } from "../connection.ts";
import { type FdRules, fdRulesOf } from "../fds/fd-rules.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { type Decision, decide, decideSubscribe } from "../policy/decide.ts";
import { type ExplainOptions, type Explanation, explain } from "../policy/explain.ts";
import type { Action, Policy } from "../policy/rules.ts";
import { type Excess, excessOf } from "../quotas/excess.ts";
import { RESOURCE } from "../quotas/quota.ts";
import { limitOfAllFor, MODEST } from "../quotas/reserve.ts";
import { type RetainRefusal, retainRefusalOf } from "../retained/retain-rules.ts";
import { type BlockGrant, blockGrantOf, overflowRuleOf } from "../sending/overflow-rules.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";
import { AskedOverflow } from "./asked-overflow.ts";
import { SUBSCRIPTIONS_MAX, TOPICS_MAX } from "./limits.ts";
import { makeRoute, type Route, type RouteGroup, RouteTable } from "./route.ts";
import { SubscriptionIndex } from "./subscription-index.ts";
import { type Topic, TopicTable } from "./topic-table.ts";

/** Called when a topic's route was computed anew, for each destination, before it is used. */
export type TopicIntroducer = (destination: Connection, topic: Topic) => void;

/** Called where a rule of a permissive file would have denied something. */
export type WouldDenyListener = (
  connection: Connection,
  denial: { action: Action; topic: string; rule: string | undefined; count: number },
) => void;

/** Called when a connection has one subscription more or less, but not when it ends. */
export type SubscriptionListener = (
  connection: Connection,
  pattern: string,
  isAdded: boolean,
) => void;

/** The shared tables of one broker. */
export class BusState {
  readonly topics = new TopicTable();
  readonly subscriptions = new SubscriptionIndex<Connection>();
  readonly #groups = new SubscriptionIndex<GroupMember>();
  readonly #asked = new AskedOverflow<Connection>();
  readonly #askedInGroups = new AskedOverflow<GroupMember>();
  readonly #routes = new RouteTable();
  #policy: Policy;
  #policyGeneration = 0;
  /** Raised whenever a route had to be computed, which may take milliseconds. */
  routesComputed = 0;
  /** Subscriptions to topics of the bus itself. */
  reservedSubscriptions = 0;
  /** Told of subscriptions as they come and go. */
  onSubscription: SubscriptionListener | undefined = undefined;
  readonly #onWouldDeny: WouldDenyListener;
  /** Uses of rights that only the permissive mode gave. */
  #wouldDenyCount = 0;

  /**
   * @param onWouldDeny told of what only the permissive mode of a policy file lets pass
   */
  constructor(policy: Policy, onWouldDeny: WouldDenyListener) {
    this.#policy = policy;
    this.#onWouldDeny = onWouldDeny;
  }

  /** What the policy says of one connection and one topic. */
  decide(connection: Connection, action: Action, topic: string): Decision {
    const decision = this.peek(connection, action, topic);
    this.noteUse(connection, { action, topic }, decision);
    return decision;
  }

  /** The same, for a right that is not used yet: noteUse() is to follow when it is. */
  peek(connection: Connection, action: Action, topic: string): Decision {
    return decide(this.#policy, connection.identity, action, topic);
  }

  /** Reports the use of a right that only the permissive mode of a policy file gives. */
  noteUse(
    connection: Connection,
    use: { action: Action; topic: string },
    decision: Pick<Decision, "wouldDeny">,
  ): void {
    if (decision.wouldDeny === undefined) return;
    this.#wouldDenyCount += 1;
    const { rule } = decision.wouldDeny;
    this.#onWouldDeny(connection, { ...use, rule, count: this.#wouldDenyCount });
  }

  /** What the policy says of anybody, and why. */
  explain(
    identity: PeerIdentity,
    question: { action: Action; topic: string },
    options: ExplainOptions,
  ): Explanation {
    return explain(this.#policy, identity, question.action, question.topic, options);
  }

  /** Whether one connection may subscribe to a pattern at all. */
  decideSubscribe(connection: Connection, pattern: string): Decision {
    const decision = decideSubscribe(this.#policy, connection.identity, pattern);
    this.noteUse(connection, { action: "subscribe", topic: pattern }, decision);
    return decision;
  }

  /** Raised by each replacePolicy(); connections compare theirs. */
  get policyGeneration(): number {
    return this.#policyGeneration;
  }

  /**
   * Puts another policy in force, for every decision from now on. Routes are computed anew at their
   * next use; rights that connections hold are rights.ts's to refresh.
   */
  replacePolicy(policy: Policy): void {
    this.#policy = policy;
    this.#policyGeneration += 1;
    this.subscriptions.touch();
  }

  /**
   * Where messages on a topic go: every connection with a matching subscription that the policy
   * lets read this very topic.
   * @param introduceTopic called for each destination if the route had to be computed
   */
  routeOf(topic: Topic, introduceTopic: TopicIntroducer): Route {
    if (topic.route !== undefined && topic.routeGeneration === this.subscriptions.generation) {
      return topic.route;
    }
    return this.#renewRoute(topic, introduceTopic);
  }

  #renewRoute(topic: Topic, introduceTopic: TopicIntroducer): Route {
    this.routesComputed += 1;
    const route = this.#computeRoute(topic);
    topic.route = route;
    topic.routeGeneration = this.subscriptions.generation;
    topic.withheldFrom = undefined;
    topic.untold = undefined;
    for (const destination of route.destinations) introduceTopic(destination, topic);
    for (const group of route.groups) {
      if (group.topic === undefined) continue;
      group.topic.untold = undefined;
      for (const member of group.members) introduceTopic(member, group.topic);
    }
    return route;
  }

  #computeRoute(topic: Topic): Route {
    const rule = overflowRuleOf(this.#policy, topic.name);
    const asked = this.#asked.match(topic.name, rule, this.subscriptions);
    const destinations: Connection[] = [];
    const blocking: Connection[] = [];
    for (const connection of this.subscriptions.match(topic.name)) {
      if (!this.#mayRead(connection, topic)) continue;
      destinations.push(connection);
      const overflow = asked?.get(connection) ?? rule.standard;
      connection.queue.setOverflow(topic.id, overflow);
      if (overflow === "block") blocking.push(connection);
    }
    if (this.#groups.size > 0) {
      const groups = this.#computeGroups(topic);
      if (groups.length > 0) return makeRoute(destinations, blocking, groups);
    } else if (topic.groupTopics !== undefined) this.topics.keepGroups(topic, new Set());
    return this.#routes.intern(destinations, blocking);
  }

  /** Those that have ended may still stand in the indexes: leave() takes its time. */
  #mayRead(connection: Connection, topic: Topic): boolean {
    if (connection.state === "DOOMED") return false;
    return this.decide(connection, "subscribe", topic.name).allowed;
  }

  /** The queue groups that take messages of a topic; ids of others are free again. */
  #computeGroups(topic: Topic): RouteGroup[] {
    const byGroup = new Map<string, GroupMember[]>();
    for (const member of this.#groups.match(topic.name)) {
      if (!this.#mayRead(member.connection, topic)) continue;
      const members = byGroup.get(member.group);
      if (members === undefined) byGroup.set(member.group, [member]);
      else members.push(member);
    }
    this.topics.keepGroups(topic, new Set(byGroup.keys()));
    const rule = overflowRuleOf(this.#policy, topic.name);
    const asked = this.#askedInGroups.match(topic.name, rule, this.#groups);
    return Array.from(byGroup, ([group, members]) => {
      const groupTopic = this.topics.groupTopic(topic, group);
      let isBlocking = false;
      for (const member of members) {
        const overflow = asked?.get(member) ?? rule.standard;
        if (groupTopic === undefined) continue;
        member.connection.queue.setOverflow(groupTopic.id, overflow);
        isBlocking ||= overflow === "block";
      }
      return { topic: groupTopic, members: members.map((member) => member.connection), isBlocking };
    });
  }

  /** The destinations of a route that the policy lets not have fds on this topic. */
  fdsWithheldFrom(topic: Topic, route: Route): ReadonlySet<Connection> {
    if (topic.withheldFrom !== undefined) return topic.withheldFrom;
    const withheld = new Set<Connection>();
    const members = route.groups.flatMap((group) => group.members);
    for (const connection of [...route.destinations, ...members]) {
      if (!this.decide(connection, "receive-fds", topic.name).allowed) withheld.add(connection);
    }
    topic.withheldFrom = withheld;
    return withheld;
  }

  /**
   * Bytes of the largest body that a connection may publish on a topic: what the topic's setting
   * and its uid's limit allow. Kept in OpenTopic; a new policy may change it.
   */
  messageBytesMax({ quota }: Pick<Connection, "quota">, topic: string): number {
    const ofTopic = this.#policy.settings.find(topic, "messageBytesMax")?.messageBytesMax;
    const ofUid = Math.min(quota.user.setting("messageBytes"), LARGE_BODY_BYTES_MAX);
    return Math.min(ofTopic ?? LARGE_BODY_BYTES_MAX, ofUid);
  }

  /** Which fds messages on a topic may carry; looked up once for each policy. */
  fdRulesOf(topic: Topic): FdRules {
    if (topic.fdRules !== undefined && topic.fdRulesGeneration === this.#policyGeneration) {
      return topic.fdRules;
    }
    const rules = fdRulesOf(this.#policy, topic.name);
    topic.fdRules = rules;
    topic.fdRulesGeneration = this.#policyGeneration;
    return rules;
  }

  /** The setting that lets nobody leave a last value on a topic, if there is one. */
  retainRefusalOf(topic: string): RetainRefusal | undefined {
    return retainRefusalOf(this.#policy, topic);
  }

  /** Subscriptions of all connections, those in queue groups included. */
  get subscriptionCount(): number {
    return this.subscriptions.size + this.#groups.size;
  }

  /** Whether a subscription to a pattern may hold publishers back. */
  blockGrantOf(pattern: string): BlockGrant {
    return blockGrantOf(this.#policy, pattern);
  }

  /**
   * Adds a subscription to the index; routes that it changes are computed at their next use.
   * @param wish a valid group name, and an overflow that the policy grants
   * @returns undefined, or the limit that leaves no room for it: then nothing has changed
   */
  subscribe(connection: Connection, pattern: string, wish?: SubscriptionWish): Excess | undefined {
    const { quota } = connection;
    const size = this.subscriptionCount;
    const own = quota.user.used(RESOURCE.subscriptions);
    const limit = limitOfAllFor(SUBSCRIPTIONS_MAX, own, MODEST.subscriptions);
    if (size >= limit) return { resource: "subscriptions", actual: size, limit };
    if (!quota.charge(RESOURCE.subscriptions, 1)) return excessOf(quota, "subscriptions");
    const isNewGroup = wish?.group !== undefined && !connection.groups.has(wish.group);
    if (isNewGroup && !quota.charge(RESOURCE.groups, 1)) {
      quota.release(RESOURCE.subscriptions, 1);
      return excessOf(quota, "groups");
    }
    this.#put(connection, pattern, wish);
    if (isReservedTopic(pattern)) this.reservedSubscriptions += 1;
    this.onSubscription?.(connection, pattern, true);
    return undefined;
  }

  #put(connection: Connection, pattern: string, wish: SubscriptionWish | undefined): void {
    if (wish?.group === undefined) {
      this.#forgetRoutes(pattern, this.subscriptions.add(pattern, connection));
      if (wish?.overflow !== undefined) this.#asked.add(pattern, connection, wish.overflow);
      return;
    }
    const { group } = wish;
    const member = connection.groups.get(group) ?? { connection, group, subscriptions: 0 };
    member.subscriptions += 1;
    connection.groups.set(group, member);
    this.#forgetRoutes(pattern, this.#groups.add(pattern, member));
    if (wish.overflow !== undefined) this.#askedInGroups.add(pattern, member, wish.overflow);
  }

  /** Removes a subscription that subscribe() added, with the same wish. */
  unsubscribe(connection: Connection, pattern: string, wish?: SubscriptionWish): void {
    this.#take(connection, pattern, wish);
    this.onSubscription?.(connection, pattern, false);
  }

  #take(connection: Connection, pattern: string, wish: SubscriptionWish | undefined): void {
    this.#drop(connection, pattern, wish);
    this.#forgetRoutes(pattern, isWildcard(pattern));
  }

  /** Routes that it changes are to be forgotten besides. */
  #drop(connection: Connection, pattern: string, wish: SubscriptionWish | undefined): void {
    connection.quota.release(RESOURCE.subscriptions, 1);
    if (isReservedTopic(pattern)) this.reservedSubscriptions -= 1;
    const overflow = wish?.overflow;
    if (wish?.group === undefined) {
      this.subscriptions.drop(pattern, connection);
      if (overflow !== undefined) this.#asked.remove(pattern, connection, overflow);
      return;
    }
    const member = connection.groups.get(wish.group);
    if (member === undefined) return;
    this.#groups.drop(pattern, member);
    if (overflow !== undefined) this.#askedInGroups.remove(pattern, member, overflow);
    member.subscriptions -= 1;
    if (member.subscriptions > 0) return;
    connection.groups.delete(wish.group);
    connection.quota.release(RESOURCE.groups, 1);
  }

  #forgetRoutes(pattern: string, areMany: boolean): void {
    if (areMany) this.subscriptions.touch();
    else this.topics.find(pattern)?.forgetRoute();
  }

  /**
   * Makes a connection a holder of a topic; what it may do there is the caller's.
   * @returns the topic, or the limit that leaves no room for it
   */
  holdTopic({ quota }: Connection, name: string): Topic | Excess {
    if (!quota.charge(RESOURCE.topics, 1)) return excessOf(quota, "topics");
    const topic = this.topics.hold(name);
    if (topic !== undefined) {
      topic.publishers += 1;
      return topic;
    }
    quota.release(RESOURCE.topics, 1);
    return { resource: "topics", actual: this.topics.size, limit: TOPICS_MAX };
  }

  /** Takes back what holdTopic() gave. */
  releaseTopic({ quota }: Connection, topic: Topic): void {
    quota.release(RESOURCE.topics, 1);
    topic.publishers -= 1;
    this.topics.release(topic);
  }

  /**
   * Takes a connection that is DOOMED out of the tables, in steps. No route that is computed from now
   * on leads to it, so wildcards, which change the routes of all topics, do so once and not in each
   * step.
   */
  *leave(connection: Connection): Generator<void, void> {
    const { subscriptions, wishes, openTopics } = connection;
    assert(connection.state === "DOOMED", "routes that are computed leave it out");
    let left = 0;
    let areForgotten = false;
    for (const [number, pattern] of subscriptions) {
      this.#drop(connection, pattern, wishes.get(number));
      subscriptions.delete(number);
      wishes.delete(number);
      const areMany = isWildcard(pattern);
      if (!areMany || !areForgotten) this.#forgetRoutes(pattern, areMany);
      areForgotten ||= areMany;
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
    if (left > 0) this.#routes.forgetAll();
    for (const [id, { topic }] of openTopics) {
      openTopics.delete(id);
      this.releaseTopic(connection, topic);
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
    connection.knownTopics.clear();
  }
}
