/**
 * Messages: from one packet of a publisher to the send queues of the subscribers. This is the hot
 * path. It touches each message only to read its header and stamp its origin, and hands over
 * *runs*: neighbouring messages with the same destinations, in one copy each.
 *
 *   packet   [A][A][A][B][B][A]          A, B: topics
 *   runs     └──3──┘  └2─┘ └1┘           found by #walk(), one record a change of topic
 *   copies   └───────5───┘ └1┘           if A and B have the same subscribers: one run of 6
 *
 * Invariants: nothing is allocated for a message; no frame is routed before the whole packet was
 * found well-formed; rights were checked when the topic was opened, so here an id is looked up and
 * nothing decided; what is forwarded is the sender's bytes with the origin overwritten.
 */

import { assert } from "../assert.ts";
import type { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { kindWord } from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES, PACKET_FRAMES_MAX } from "../protocol/limits.ts";
import { FLAGS_ENCODING_MASK, OPCODE } from "../protocol/opcodes.ts";
import type { BusState } from "./bus-state.ts";
import { type Connection, type OpenTopic, openTopicOf } from "./connection.ts";
import type { FdBundle } from "./fd-bundle.ts";
import { FdPlan, GETS_BODY, GETS_NO_FDS, GETS_NOTHING } from "./fd-plan.ts";
import type { FdsInFlight } from "./fds-in-flight.ts";
import { GroupDelivery } from "./group-delivery.ts";
import type { Introductions } from "./introductions.ts";
import {
  FDS_STALLED_MS,
  FDS_TOGETHER_RECEIVERS_MAX,
  REFUSALS_TOLD_PER_PACKET,
  ROUTING_COST_PER_LOOK,
} from "./limits.ts";
import { ACCEPTED, PEER_GONE, SLOW_READER } from "./queue-outcomes.ts";
import { makeRoute, type Route } from "./route.ts";
import type { Topic } from "./topic-table.ts";

/** A kind word without its encoding bits equals PLAIN_KIND for a message without fds. */
const PLAIN_MASK = ~(FLAGS_ENCODING_MASK << 8);
const PLAIN_KIND = kindWord(OPCODE.MESSAGE, 0, 0);

/** No topic has this id. */
const NO_TOPIC = -1;

/** Stands in the place of the number of messages: there is one, and it is too large. */
const TOO_LARGE = -1;

/** Numbers in one run record: first byte, byte after the last, messages. */
const RUN_WORDS = 3;

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

/**
 * Told of each destination of a topic whose route was computed anew, before a message takes it: the
 * destination knows the topic by then.
 */
export type FirstMessageListener = (destination: Connection, topic: Topic) => void;

/** Messages on one topic, of one sender. */
interface Publication {
  readonly sender: Connection;
  readonly topic: Topic;
}

/** Routes messages. One for a broker; not reentrant. */
export class Router {
  readonly #state: BusState;
  readonly #introductions: Introductions;
  readonly #fdsInFlight: FdsInFlight;
  readonly #host: RouterHost;
  readonly #onFirstMessage: FirstMessageListener;
  readonly #runs = new Int32Array(PACKET_FRAMES_MAX * RUN_WORDS);
  readonly #runTopics: (OpenTopic | undefined)[] = new Array(PACKET_FRAMES_MAX).fill(undefined);
  readonly #groups: GroupDelivery<Publication>;
  /** For the message with fds that is being routed. */
  readonly #fdPlan: FdPlan;
  #runCount = 0;
  /** The first run that is to be delivered. */
  #firstRun = 0;
  /** Refusals that the sender of this packet was told. */
  #refusalsTold = 0;
  /** Destinations served since hasTime() was last asked; a computed route counts as many. */
  #cost = 0;

  constructor(
    state: BusState,
    introductions: Introductions,
    fdsInFlight: FdsInFlight,
    host: RouterHost,
    onFirstMessage: FirstMessageListener = () => {},
  ) {
    this.#state = state;
    this.#fdPlan = new FdPlan(state);
    this.#fdsInFlight = fdsInFlight;
    this.#introductions = introductions;
    this.#host = host;
    this.#groups = new GroupDelivery({
      unreadBytes: (connection) => host.unreadBytes(connection),
      settle: ({ sender, topic }, member, outcome, messages, bytes) => {
        if (!this.#settle(sender, member, outcome, messages, bytes)) topic.dropped += messages;
      },
    });
    this.#onFirstMessage = onFirstMessage;
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
    if (this.#walk(sender, buffer.words, 0, packetBytes) !== packetBytes) return NOT_PLAIN;
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
    const walked = this.#walk(sender, buffer.words, start, end);
    const stop = this.#routeRuns(sender, buffer);
    return stop === ALL_ROUTED ? walked : stop;
  }

  /**
   * Whether messages of a sender on a topic must wait until a subscriber has read; noteHeld() was
   * called then. For a message with fds, before these are taken.
   */
  mustWait(sender: Connection, open: OpenTopic): boolean {
    return open.mayPublish && this.#isHeld(sender, this.#routeFor(sender, open), open.topic);
  }

  /**
   * Routes one message that carries fds. The sender's right to send them on the topic, and their
   * kinds, are the caller's to check. The sender is charged for each copy before any is on its way.
   * @param frameBytes the frame with its padding, from offset 0
   * @param bundle borrowed, paid by the sender; queues that must wait retain it
   * @returns 0; or where the copies do not fit the sender's quota, how many they would have been,
   *   with nothing delivered
   */
  routeWithFds(
    sender: Connection,
    open: OpenTopic,
    buffer: PinnedBuffer,
    frameBytes: number,
    bundle: FdBundle,
  ): number {
    buffer.words[3] = sender.id;
    const route = this.#routeFor(sender, open);
    const plan = this.#fdPlan;
    plan.settle(open.topic, route, bundle);
    this.#leaveOutStalled(sender, open.topic, route, bundle);
    if (!sender.fdAccount.charge(plan.copies)) return plan.copies;
    const { follow } = this.#fdsInFlight;
    if (route.destinations.length > FDS_TOGETHER_RECEIVERS_MAX) this.#fdsInFlight.follow = false;
    const matched = this.#deliverFds(sender, open.topic, route, buffer, frameBytes, bundle);
    this.#fdsInFlight.follow = follow;
    sender.counters.published += 1;
    sender.counters.matched += matched;
    sender.figures.publishedBytes += frameBytes;
    open.topic.countOne(matched);
    plan.forget();
    return 0;
  }

  /** Hands a message with fds to all of its receivers, as it was planned. @returns how many */
  #deliverFds(
    sender: Connection,
    topic: Topic,
    { destinations }: Route,
    buffer: PinnedBuffer,
    frameBytes: number,
    bundle: FdBundle,
  ): number {
    const plan = this.#fdPlan;
    let matched = 0;
    for (let place = 0; place < destinations.length; place += 1) {
      const gets = plan.gets(place);
      if (gets === GETS_NOTHING) continue;
      const destination = destinations[place] as Connection;
      const { queue } = destination;
      let outcome: number;
      if (gets === GETS_NO_FDS) {
        outcome = queue.deliverStalled(buffer, 0, frameBytes);
        this.#fdsInFlight.counters.stalled += bundle.count;
      } else if (gets === GETS_BODY) {
        outcome = queue.deliverWithheld(buffer, 0, frameBytes, bundle);
      } else outcome = queue.deliverWithFds(buffer, 0, frameBytes, bundle);
      if (!this.#settle(sender, destination, outcome, 1, frameBytes)) topic.dropped += 1;
      matched += 1;
    }
    for (const share of plan.groups) {
      if (share.group.topic?.untold !== undefined) this.#introductions.tellLate(share.group.topic);
      if (share.gets === GETS_NO_FDS) this.#fdsInFlight.counters.stalled += bundle.count;
      const publication = { sender, topic };
      const message = { buffer, frameBytes, bundle };
      if (this.#groups.deliverWithFds(publication, share, message)) matched += 1;
    }
    return matched;
  }

  /**
   * Where the copies of fds would use up more than half of what the sender may have on its way,
   * clients that take none are left out: otherwise a few of them could keep its fds from everybody.
   */
  #leaveOutStalled({ fdAccount }: Connection, topic: Topic, route: Route, bundle: FdBundle): void {
    const plan = this.#fdPlan;
    const now = this.#fdsInFlight.tick();
    if (!fdAccount.isStrainedBy(plan.copies)) return;
    for (const { queue } of route.destinations) queue.lookForTaken();
    for (const { members } of route.groups) {
      for (const { queue } of members) queue.lookForTaken();
      this.#cost += members.length;
    }
    this.#cost += route.destinations.length;
    if (!fdAccount.isStrainedBy(plan.copies)) return;
    plan.settle(topic, route, bundle, now - FDS_STALLED_MS);
  }

  /**
   * Finds the runs of one stretch and stamps the sender's id on every message.
   * @returns where it stopped: at `end`, or at the first frame that is not a plain message or does
   *   not end inside the stretch
   */
  #walk(sender: Connection, words: Uint32Array, start: number, end: number): number {
    const origin = sender.id;
    const runs = this.#runs;
    this.#refusalsTold = 0;
    let count = 0;
    let topicId = NO_TOPIC;
    let messages = 0;
    let frameBytesMax = 0;
    let at = start;
    while (at < end) {
      const word = at >>> 2;
      const frameBytes = words[word] as number;
      const kind = words[word + 1] as number;
      if ((kind & PLAIN_MASK) !== PLAIN_KIND) break;
      if (frameBytes < FRAME_HEADER_BYTES || frameBytes > end - at) break;
      const id = words[word + 2] as number;
      words[word + 3] = origin;
      if (id !== topicId || frameBytes > frameBytesMax) {
        if (count > 0) runs[count * RUN_WORDS - 1] = messages;
        runs[count * RUN_WORDS] = at;
        if (count > 0) runs[(count - 1) * RUN_WORDS + 1] = at;
        const open = openTopicOf(sender, id, at);
        this.#runTopics[count] = open;
        frameBytesMax = open.messageBytesMax + FRAME_HEADER_BYTES;
        count += 1;
        topicId = id;
        messages = 0;
        if (frameBytes > frameBytesMax) {
          // It is a run of its own, and goes nowhere.
          topicId = NO_TOPIC;
          messages = TOO_LARGE - 1;
        }
      }
      messages += 1;
      at += (frameBytes + 7) & -8;
    }
    if (count > 0) {
      runs[count * RUN_WORDS - 1] = messages;
      runs[count * RUN_WORDS - 2] = at;
    }
    this.#runCount = count;
    return at;
  }

  /**
   * Hands over the runs of the last walk, joining neighbours that have the same route.
   * @returns ALL_ROUTED, or the offset behind the last run that was handed over, where the turn's
   *   time was up or a subscriber holds the sender back
   */
  #routeRuns(sender: Connection, buffer: PinnedBuffer): number {
    const runs = this.#runs;
    const runCount = this.#runCount;
    let route: Route | undefined;
    let messages = 0;
    for (let run = 0; run < runCount; run += 1) {
      const runMessages = runs[run * RUN_WORDS + 2] as number;
      const next = this.#routeOfRun(sender, run, runMessages);
      if (next !== route) {
        if (route !== undefined) this.#deliverRuns(sender, route, buffer, run, messages);
        const { topic } = this.#runTopics[run] as OpenTopic;
        if (this.#isHeld(sender, next, topic)) return runs[run * RUN_WORDS] as number;
        route = next;
        messages = 0;
        this.#firstRun = run;
      }
      messages += runMessages;
      // Behind finding the route: one that is new counts from here on.
      if (next !== REVOKED_ROUTE && next !== TOO_LARGE_ROUTE) {
        (this.#runTopics[run] as OpenTopic).topic.published += runMessages;
      }
      if (this.#cost >= ROUTING_COST_PER_LOOK && run + 1 < runCount && this.#isTimeUp()) {
        this.#deliverRuns(sender, route, buffer, run + 1, messages);
        return runs[run * RUN_WORDS + 1] as number;
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

  #routeOfRun(sender: Connection, run: number, messages: number): Route {
    const open = this.#runTopics[run];
    assert(open !== undefined, "a run has a topic");
    if (!open.mayPublish) return REVOKED_ROUTE;
    return messages === TOO_LARGE ? TOO_LARGE_ROUTE : this.#routeFor(sender, open);
  }

  #isTimeUp(): boolean {
    this.#cost = 0;
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
    const start = runs[first * RUN_WORDS] as number;
    const bytes = (runs[past * RUN_WORDS - 2] as number) - start;
    const destinations = route.destinations;
    if (route === REVOKED_ROUTE || route === TOO_LARGE_ROUTE) {
      return this.#refuseRuns(sender, route, buffer.words, past);
    }
    this.#cost += destinations.length;
    sender.counters.published += messages;
    sender.counters.matched += messages * destinations.length;
    sender.figures.publishedBytes += bytes;
    let missing = 0;
    for (let index = 0; index < destinations.length; index += 1) {
      const destination = destinations[index] as Connection;
      const outcome = destination.queue.deliver(buffer, start, bytes);
      if (!this.#settle(sender, destination, outcome, messages, bytes)) missing += 1;
    }
    if (missing > 0) this.#countDropped(past, missing);
    if (route.groups.length > 0) {
      this.#deliverToGroups(sender, route, buffer, { start, end: start + bytes, messages });
    }
  }

  #countDropped(past: number, copies: number): void {
    for (let run = this.#firstRun; run < past; run += 1) {
      const messages = this.#runs[run * RUN_WORDS + 2] as number;
      (this.#runTopics[run] as OpenTopic).topic.dropped += messages * copies;
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
    const { topic } = this.#runTopics[this.#firstRun] as OpenTopic;
    sender.counters.matched += run.messages * groups.length;
    for (const group of groups) {
      if (group.topic?.untold !== undefined) this.#introductions.tellLate(group.topic);
      this.#cost += group.members.length;
      this.#groups.deliverRun({ sender, topic }, group, buffer, run);
    }
  }

  /** Tells of a few that are too large, and not of all that one packet may hold. */
  #refuseRuns(sender: Connection, route: Route, words: Uint32Array, past: number): void {
    for (let run = this.#firstRun; run < past; run += 1) {
      const at = run * RUN_WORDS;
      sender.counters.denied += Math.abs(this.#runs[at + 2] as number);
      if (route === REVOKED_ROUTE || this.#refusalsTold >= REFUSALS_TOLD_PER_PACKET) continue;
      this.#refusalsTold += 1;
      const frameBytes = words[(this.#runs[at] as number) >>> 2] as number;
      const open = this.#runTopics[run] as OpenTopic;
      this.#host.noteTooLarge(sender, open, frameBytes - FRAME_HEADER_BYTES);
    }
  }

  /** @returns whether it was delivered */
  #settle(
    sender: Connection,
    destination: Connection,
    outcome: number,
    messages: number,
    bytes: number,
  ): boolean {
    const isDelivered = outcome === ACCEPTED;
    if (isDelivered) {
      destination.figures.received += messages;
      destination.figures.receivedBytes += bytes;
      if (destination.watchedFd >= 0) sender.counters.queued += messages;
    } else {
      destination.figures.missed += messages;
      sender.counters.dropped += messages;
    }
    if (outcome === PEER_GONE) this.#host.notePeerGone(destination);
    else if (outcome === SLOW_READER) this.#host.noteSlowReader(destination);
    else if (
      !destination.isUnflushed &&
      destination.watchedFd < 0 &&
      destination.queue.needsFlush
    ) {
      this.#host.noteUnflushed(destination);
    }
    return isDelivered;
  }

  /** The route of a topic; its destinations know topic and sender when this returns. */
  #routeFor(sender: Connection, open: OpenTopic): Route {
    const computed = this.#state.routesComputed;
    const { hasUntold } = this.#introductions;
    const route = this.#state.routeOf(open.topic, this.#introduceTopic);
    if (this.#state.routesComputed !== computed) this.#cost += ROUTING_COST_PER_LOOK;
    if (hasUntold || open.introducedTo !== route) this.#introduce(sender, open, route);
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

/** A pause is not for the client's own messages: it would not be read, and could not end it. */
function holdsBack(subscriber: Connection, sender: Connection): boolean {
  return subscriber.queue.isHigh || (subscriber.isPausing && subscriber !== sender);
}
