/**
 * Which way a message goes now: the route of its topic, computed anew where subscriptions have changed,
 * with destinations that know what the ids on the message stand for. Delivers nothing.
 */

import type { Connection, OpenTopic } from "../connection.ts";
import type { BusState } from "./bus-state.ts";
import type { Introductions } from "./introductions.ts";
import { ROUTING_COST_PER_LOOK } from "./limits.ts";
import type { Route } from "./route.ts";
import type { Topic } from "./topic-table.ts";

/**
 * Told of each destination of a topic whose route was computed anew, before a message takes it: the
 * destination knows the topic by then.
 */
export type FirstMessageListener = (destination: Connection, topic: Topic) => void;

/** Finds routes. One for a router. */
export class RouteFinder {
  readonly #state: BusState;
  readonly #subscriptions: BusState["subscriptions"];
  readonly #introductions: Introductions;
  readonly #onFirstMessage: FirstMessageListener;

  /** Destinations served since the clock was last looked at; a computed route counts as many. */
  cost = 0;

  constructor(state: BusState, introductions: Introductions, onFirstMessage: FirstMessageListener) {
    this.#state = state;
    this.#subscriptions = state.subscriptions;
    this.#introductions = introductions;
    this.#onFirstMessage = onFirstMessage;
  }

  /**
   * The same as routeFor() for nearly all messages: the route that the sender's last message on the
   * topic took. Undefined where something has changed since, or the sender may not publish there.
   */
  knownRoute({ introducedTo, topic, mayPublish }: OpenTopic): Route | undefined {
    if (introducedTo === undefined || introducedTo !== topic.route || !mayPublish) return undefined;
    if (topic.routeGeneration !== this.#subscriptions.generation) return undefined;
    return topic.untold === undefined ? introducedTo : undefined;
  }

  /** The route of a topic; its destinations know topic and sender when this returns. */
  routeFor(sender: Connection, open: OpenTopic): Route {
    const computed = this.#state.routesComputed;
    const wasUntold = open.topic.untold !== undefined;
    const route = this.#state.routeOf(open.topic, this.#introduceTopic);
    if (this.#state.routesComputed !== computed) this.cost += ROUTING_COST_PER_LOOK;
    if (wasUntold || open.introducedTo !== route) this.#introduce(sender, open, route);
    return route;
  }

  #introduce(sender: Connection, open: OpenTopic, route: Route): void {
    if (open.topic.untold !== undefined) this.#introductions.tellLate(open.topic);
    if (open.introducedTo === route) return;
    for (const destination of route.destinations) {
      this.#introductions.introduceSender(destination, sender);
    }
    for (const { members } of route.groups) {
      for (const member of members) this.#introductions.introduceSender(member, sender);
    }
    open.introducedTo = route;
  }

  readonly #introduceTopic = (destination: Connection, topic: Topic): void => {
    this.#introductions.introduceTopicOf(destination, topic);
    // A queue group gets no last values.
    if (topic.group === undefined) this.#onFirstMessage(destination, topic);
  };
}
