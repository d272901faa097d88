/**
 * Messages: from one packet of a publisher to the send queues of the subscribers. This is the hot
 * path. It touches each message only to read its header and stamp its origin (packet-runs.ts), and
 * hands over neighbouring messages with the same destinations in one copy each.
 *
 *   packet   [A][A][A][B][B][A]          A, B: topics
 *   runs     └──3──┘  └2─┘ └1┘           one record a change of topic
 *   copies   └───────5───┘ └1┘           if A and B have the same subscribers: one run of 6
 *
 * Invariants: nothing is allocated for a message; no frame is routed before the whole packet was
 * found well-formed; rights were checked when the topic was opened, so here an id is looked up and
 * nothing decided; what is forwarded is the sender's bytes with the origin overwritten.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import type { Connection, OpenTopic } from "../connection.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import type { BusState } from "./bus-state.ts";
import { type FdCounts, FdPlan } from "./fd-plan.ts";
import { FdRouting } from "./fd-routing.ts";
import { GroupDelivery } from "./group-delivery.ts";
import type { Introductions } from "./introductions.ts";
import { REFUSALS_TOLD_PER_PACKET, ROUTING_COST_PER_LOOK } from "./limits.ts";
import { PacketRuns, TOO_LARGE } from "./packet-runs.ts";
import { makeRoute, type Route } from "./route.ts";
import { type FirstMessageListener, RouteFinder } from "./route-finder.ts";
import { type Publication, Settlement } from "./settlement.ts";
import type { Topic } from "./topic-table.ts";

/** Stands for the route of a topic on which the sender may not publish any more. */
const REVOKED_ROUTE: Route = makeRoute([]);

/** Stands for the route of messages that are larger than their sender may publish on the topic. */
const TOO_LARGE_ROUTE: Route = makeRoute([]);

/** routePacket(): the packet holds something else than plain messages. */
export const NOT_PLAIN = -1;

/** #routeRuns(): it got to the end. */
const ALL_ROUTED = -1;

/** What the router needs of the process around it. */
export interface RouterHost {
  /** Whether this turn has time for more costly work. */
  hasTime(): boolean;
  /** The connection's queue holds frames to be flushed at the end of the turn. */
  noteUnflushed(connection: Connection): void;
  /** The connection's socket is dead. */
  notePeerGone(connection: Connection): void;
  /** The connection's queue is full, and it asked to miss nothing. */
  noteSlowReader(connection: Connection): void;
  /** Routing stops here: nothing more is to be read from the sender until one of these has read. */
  noteHeld(by: readonly Connection[], topic: Topic): void;
  /** Bytes that a client has not read of what was sent to it. */
  unreadBytes(connection: Connection): number;
  /** A message went nowhere, because its body is larger than the topic or the sender's user may have. */
  noteTooLarge(sender: Connection, open: OpenTopic, bodyBytes: number): void;
}

/** Routes messages. One for a broker; not reentrant. */
export class Router {
  readonly #introductions: Introductions;
  readonly #host: RouterHost;
  readonly #routes: RouteFinder;
  readonly #settlement: Settlement;
  readonly #groups: GroupDelivery<Publication>;
  readonly #fdRouting: FdRouting;
  readonly #runs = new PacketRuns();
  /** The first run that is to be delivered. */
  #firstRun = 0;
  /** Refusals that the sender of this packet was told. */
  #refusalsTold = 0;

  constructor(
    state: BusState,
    introductions: Introductions,
    fdsInFlight: FdsInFlight,
    host: RouterHost,
    onFirstMessage: FirstMessageListener = () => {},
  ) {
    this.#introductions = introductions;
    this.#host = host;
    this.#routes = new RouteFinder(state, introductions, onFirstMessage);
    this.#settlement = new Settlement(host);
    this.#groups = new GroupDelivery({
      unreadBytes: (connection) => host.unreadBytes(connection),
      settle: ({ sender, topic }, member, outcome, messages, bytes) => {
        const isDelivered = this.#settlement.settle(sender, member, outcome, messages, bytes);
        if (!isDelivered) topic.dropped += messages;
      },
    });
    this.#fdRouting = new FdRouting({
      plan: new FdPlan(state),
      routes: this.#routes,
      groups: this.#groups,
      introductions,
      settlement: this.#settlement,
      inFlight: fdsInFlight,
    });
  }

  /**
   * Routes a packet, if it holds nothing but well-formed messages without fds.
   * @param buffer holds the packet from offset 0; its origins are overwritten
   * @returns bytes routed: less than `packetBytes` where the turn's time is up, or noteHeld() was
   *   called, and then the rest is to come again as a packet; NOT_PLAIN where the packet holds
   *   anything else: then nothing of it took effect, and it is for the caller to read it the slow way
   * @throws {ProtocolError} PROTOCOL_TOPIC_ID; then nothing of the packet took effect either
   */
  routePacket(sender: Connection, buffer: PinnedBuffer, packetBytes: number): number {
    if (this.#find(sender, buffer.words, 0, packetBytes) !== packetBytes) return NOT_PLAIN;
    const stop = this.#routeRuns(sender, buffer);
    return stop === ALL_ROUTED ? packetBytes : stop;
  }

  /**
   * Routes the messages without fds that stand at the start of a stretch of well-formed frames,
   * whose topics the caller found open.
   * @returns the byte offset of the first frame that is not such a message, or `end`; less where
   *   the turn's time is up or noteHeld() was called, and then the rest is to come again
   */
  routeStretch(sender: Connection, buffer: PinnedBuffer, start: number, end: number): number {
    const walked = this.#find(sender, buffer.words, start, end);
    const stop = this.#routeRuns(sender, buffer);
    return stop === ALL_ROUTED ? walked : stop;
  }

  /**
   * Whether messages of a sender on a topic must wait until a subscriber has read; noteHeld() was
   * called then. For a message with fds, before these are taken.
   */
  mustWait(sender: Connection, open: OpenTopic): boolean {
    return open.mayPublish && this.#isHeld(sender, this.#routes.routeFor(sender, open), open.topic);
  }

  /** Which way messages of a sender on a topic go now; undefined where it may not publish there. */
  routeOf(sender: Connection, open: OpenTopic): Route | undefined {
    return open.mayPublish ? this.#routes.routeFor(sender, open) : undefined;
  }

  /** What routeWithFds() would charge the sender for now, where it does not matter who has stalled. */
  countCopies(sender: Connection, open: OpenTopic, fds: FdCounts): number {
    return this.#fdRouting.countCopies(sender, open, fds);
  }

  /** Routes one message that carries fds, as FdRouting.route() says. */
  routeWithFds(
    sender: Connection,
    open: OpenTopic,
    buffer: PinnedBuffer,
    frameBytes: number,
    bundle: FdBundle,
  ): number {
    return this.#fdRouting.route(sender, open, buffer, frameBytes, bundle);
  }

  /** Finds the runs of one stretch, as PacketRuns.find() says; none of them was refused yet. */
  #find(sender: Connection, words: Uint32Array, start: number, end: number): number {
    this.#refusalsTold = 0;
    return this.#runs.find(sender, words, start, end);
  }

  /**
   * Hands over the runs found last, joining neighbours that have the same route.
   * @returns ALL_ROUTED, or the offset behind the last run that was handed over, where the turn's
   *   time was up or a subscriber holds the sender back
   */
  #routeRuns(sender: Connection, buffer: PinnedBuffer): number {
    const runs = this.#runs;
    const routes = this.#routes;
    const runCount = runs.count;
    let route: Route | undefined;
    let messages = 0;
    for (let run = 0; run < runCount; run += 1) {
      const runMessages = runs.messagesOf(run);
      const open = runs.topicOf(run);
      const known = runMessages === TOO_LARGE ? undefined : routes.knownRoute(open);
      const next = known ?? this.#routeOfRun(sender, open, runMessages);
      if (next !== route) {
        if (route !== undefined) this.#deliverRuns(sender, route, buffer, run, messages);
        if (this.#isHeld(sender, next, open.topic)) return runs.startOf(run);
        route = next;
        messages = 0;
        this.#firstRun = run;
      }
      messages += runMessages;
      // Behind finding the route: one that is new counts from here on.
      if (next !== REVOKED_ROUTE && next !== TOO_LARGE_ROUTE) {
        open.topic.published += runMessages;
      }
      if (routes.cost >= ROUTING_COST_PER_LOOK && run + 1 < runCount && this.#isTimeUp()) {
        this.#deliverRuns(sender, route, buffer, run + 1, messages);
        return runs.endOf(run);
      }
    }
    if (route !== undefined) this.#deliverRuns(sender, route, buffer, runCount, messages);
    return ALL_ROUTED;
  }

  /** Whether a destination that must lose nothing has too much to read; the host is told. */
  #isHeld(sender: Connection, { blocking, groups }: Route, topic: Topic): boolean {
    for (let index = 0; index < blocking.length; index += 1) {
      if (!holdsBack(blocking[index] as Connection, sender)) continue;
      const by = blocking.filter((subscriber) => holdsBack(subscriber, sender));
      this.#host.noteHeld(by, topic);
      return true;
    }
    for (let index = 0; index < groups.length; index += 1) {
      const group = groups[index];
      if (group?.isBlocking !== true) continue;
      if (!group.members.every((member) => holdsBack(member, sender))) continue;
      this.#host.noteHeld(group.members, topic);
      return true;
    }
    return false;
  }

  #routeOfRun(sender: Connection, open: OpenTopic, messages: number): Route {
    if (!open.mayPublish) return REVOKED_ROUTE;
    return messages === TOO_LARGE ? TOO_LARGE_ROUTE : this.#routes.routeFor(sender, open);
  }

  #isTimeUp(): boolean {
    this.#routes.cost = 0;
    return !this.#host.hasTime();
  }

  /** Delivers the runs from #firstRun on, up to `past`, in one piece: all have this route. */
  #deliverRuns(
    sender: Connection,
    route: Route,
    buffer: PinnedBuffer,
    past: number,
    messages: number,
  ): void {
    const runs = this.#runs;
    const first = this.#firstRun;
    const start = runs.startOf(first);
    const bytes = runs.endOf(past - 1) - start;
    const destinations = route.destinations;
    if (route === REVOKED_ROUTE || route === TOO_LARGE_ROUTE) {
      return this.#refuseRuns(sender, route, buffer.words, past);
    }
    this.#routes.cost += destinations.length;
    sender.counters.published += messages;
    sender.counters.matched += messages * destinations.length;
    sender.figures.publishedBytes += bytes;
    let missing = 0;
    for (let index = 0; index < destinations.length; index += 1) {
      const destination = destinations[index] as Connection;
      const outcome = destination.queue.deliver(buffer, start, bytes);
      if (!this.#settlement.settle(sender, destination, outcome, messages, bytes)) missing += 1;
    }
    if (missing > 0) this.#countDropped(past, missing);
    if (route.groups.length > 0) {
      this.#deliverToGroups(sender, route, buffer, { start, end: start + bytes, messages });
    }
  }

  #countDropped(past: number, copies: number): void {
    for (let run = this.#firstRun; run < past; run += 1) {
      const messages = this.#runs.messagesOf(run);
      this.#runs.topicOf(run).topic.dropped += messages * copies;
    }
  }

  /** Behind all other destinations: the messages bear other topic ids from here on. */
  #deliverToGroups(
    sender: Connection,
    { groups }: Route,
    buffer: PinnedBuffer,
    run: { readonly start: number; readonly end: number; readonly messages: number },
  ): void {
    // A route with groups is its topic's alone.
    const { topic } = this.#runs.topicOf(this.#firstRun);
    const publication = { sender, topic };
    sender.counters.matched += run.messages * groups.length;
    for (const group of groups) {
      if (group.topic?.untold !== undefined) this.#introductions.tellLate(group.topic);
      this.#routes.cost += group.members.length;
      this.#groups.deliverRun(publication, group, buffer, run);
    }
  }

  /** Tells of a few that are too large, and not of all that one packet may hold. */
  #refuseRuns(sender: Connection, route: Route, words: Uint32Array, past: number): void {
    const runs = this.#runs;
    for (let run = this.#firstRun; run < past; run += 1) {
      sender.counters.denied += Math.abs(runs.messagesOf(run));
      if (route === REVOKED_ROUTE || this.#refusalsTold >= REFUSALS_TOLD_PER_PACKET) continue;
      this.#refusalsTold += 1;
      const frameBytes = words[runs.startOf(run) >>> 2] as number;
      this.#host.noteTooLarge(sender, runs.topicOf(run), frameBytes - FRAME_HEADER_BYTES);
    }
  }
}

/** A pause is not for the client's own messages: it would not be read, and could not end it. */
function holdsBack(subscriber: Connection, sender: Connection): boolean {
  return subscriber.queue.isHigh || (subscriber.isPausing && subscriber !== sender);
}

/**
 * Who holds back a sender that waits already. One that has a queue to read waits until this is low.
 * @returns none where it may go on
 */
export function holdersOn({ blocking, groups }: Route, sender: Connection): readonly Connection[] {
  const isHolder = (subscriber: Connection) =>
    holdsBack(subscriber, sender) || (subscriber.isHolding && !subscriber.queue.isLow);
  const by = blocking.filter(isHolder);
  if (by.length > 0) return by;
  const group = groups.find(({ isBlocking, members }) => isBlocking && members.every(isHolder));
  return group?.members ?? [];
}
