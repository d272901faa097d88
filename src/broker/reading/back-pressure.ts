/**
 * Holding publishers back for subscribers that must lose nothing: takes a publisher out of reading,
 * lets it go on when a queue has drained or a subscriber goes on, and ends subscribers that hold
 * others back and stand still.
 * Who waits for whom is held-publishers.ts's; this file does what follows from it.
 */

import { SyscallError } from "../../errors.ts";
import { EPOLLERR, EPOLLHUP } from "../../ffi/constants.ts";
import { heldBody } from "../../protocol/control-messages.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import type { Connection } from "../connection.ts";
import { isDue } from "../deadlines.ts";
import { type Cause, cannotWatch, holdsOthersBack } from "../departures/endings.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import { type Background, OF_BROKER } from "../long-work/background.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender } from "../routing/introductions.ts";
import type { Route } from "../routing/route.ts";
import { holdersOn, type Router } from "../routing/router.ts";
import type { Flusher } from "../sending/flusher.ts";
import type { SocketWatch } from "../socket-watch.ts";
import { BACKGROUND_MS_PER_TURN } from "../turn-limits.ts";
import { type Held, HeldPublishers, type Holdup } from "./held-publishers.ts";
import type { PacketRest, PacketRests } from "./packet-rests.ts";

/** What it works with. */
export interface BackPressureParts {
  readonly state: { readonly topics: Pick<BusState["topics"], "find"> };
  readonly router: Pick<Router, "routeOf">;
  readonly watch: SocketWatch;
  readonly flusher: Flusher;
  /** Gets what publishers that may go on have left to say. */
  readonly rests: PacketRests;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly background: Pick<Background, "addNews">;
  readonly send: ControlSender;
  readonly budget: Pick<FdBudget, "figures">;
  /** Ends a subscriber that stands still, or a publisher that the kernel does not serve. */
  readonly end: (connection: Connection, cause: Cause) => void;
}

/** Holds publishers back. One for a broker. */
export class BackPressure {
  readonly #parts: BackPressureParts;
  readonly #held = new HeldPublishers();
  /** A look is under way, in the background perhaps. */
  #isLooking = false;

  constructor(parts: BackPressureParts) {
    this.#parts = parts;
  }

  /** Why a publisher is held back, and since when; undefined for any other connection. */
  heldOf(publisher: Connection): Readonly<Omit<Held, "rest">> | undefined {
    return this.#held.get(publisher);
  }

  /** Publishers that a subscriber holds back. */
  countHeldBy(subscriber: Connection): number {
    return this.#held.countHeldBy(subscriber);
  }

  /**
   * Reads nothing more of a publisher until one of these subscribers has read on.
   * @param rest what comes next of it
   */
  hold(publisher: Connection, rest: PacketRest, { by, topic }: Holdup): void {
    const route = this.#routeOf(publisher, topic);
    const since = this.#parts.now();
    this.#held.hold(publisher, { rest, by, topic, route, since, isTold: false });
    this.#parts.watch.setHeld(publisher, true);
    // Whom it held back by a pause need not wait for a word that would not be read.
    if (publisher.isHolding) this.noteDrained(publisher);
  }

  /** A publisher that is held back has ended: what it sent before is still to be delivered. */
  noteEnded(publisher: Connection, events: number): void {
    if ((events & (EPOLLHUP | EPOLLERR)) === 0) return;
    this.#parts.flusher.notePeerGone(publisher);
    this.#parts.watch.unwatch(publisher);
  }

  /** A subscriber that holds publishers back was flushed, or does not read any more. */
  noteDrained(subscriber: Connection): void {
    if (subscriber.queue.isLow && !subscriber.isPausing) this.#release(subscriber);
  }

  /** A subscriber wants nothing more for now, says that once more since it is at work, or goes on. */
  setPaused(subscriber: Connection, isPaused: boolean): void {
    subscriber.wantsPause = isPaused;
    if (isPaused) this.#held.noteMoved(subscriber, this.#parts.now());
    // As if it had read on: so does whatever waits for that.
    else this.#parts.flusher.flush(subscriber);
  }

  /** When look() is due, in milliseconds on the clock; Infinity for never. */
  get lookDue(): number {
    return this.#held.lookDue;
  }

  /**
   * Ends subscribers that hold publishers back and take nothing; tells publishers that wait. Where very
   * many wait, the rest is done in the background.
   */
  look(): void {
    const { now, background } = this.#parts;
    if (this.#isLooking || !isDue(this.#held.lookDue, now)) return;
    this.#isLooking = true;
    const steps = this.#lookInSteps();
    const endsAt = now() + BACKGROUND_MS_PER_TURN;
    while (steps.next().done !== true) {
      if (now() >= endsAt) return background.addNews(OF_BROKER, steps);
    }
  }

  *#lookInSteps(): Generator<void, void> {
    // First, so that nobody is ended for those who do not wait for it any more.
    yield* this.#followRoutes();
    this.#isLooking = false;
    this.#lookAtHolders(this.#parts.now());
  }

  #lookAtHolders(now: number): void {
    for (const subscriber of this.#held.holders(now)) {
      // epoll tells of room only once a socket is three quarters empty.
      this.#parts.flusher.flush(subscriber);
      const actual = this.#held.stalledMs(subscriber, now);
      const limit = subscriber.quota.user.setting("stallMs");
      if (actual < limit) continue;
      this.#parts.end(subscriber, holdsOthersBack(subscriber.queue.queuedBytes, { limit, actual }));
    }
    for (const [publisher, held] of this.#held.takeUntold(now)) this.#tell(publisher, held, true);
  }

  /** A connection ends: what it had left to say is dropped, and nobody waits for it. */
  leave(connection: Connection): void {
    this.#held.drop(connection)?.rest.closeFds();
    if (connection.isHolding) this.#release(connection);
  }

  /** Nothing is routed any more. */
  clear(): void {
    for (const rest of this.#held.clear()) rest.closeFds();
  }

  /**
   * Subscriptions, queue groups and rights have changed: publishers whose messages go to nobody any
   * more that they must wait for may go on, and the others wait for whoever holds them back now. To
   * find one route can take milliseconds, so each is a step.
   */
  *#followRoutes(): Generator<void, void> {
    for (const [publisher, held] of this.#held.all()) {
      if (this.#held.get(publisher) !== held) continue;
      this.#followRoute(publisher, held);
      yield;
    }
  }

  #followRoute(publisher: Connection, held: Held): void {
    const route = this.#routeOf(publisher, held.topic);
    // Whoever it has to be introduced to may have ended for that, and then it may have gone on.
    if (route === held.route || this.#held.get(publisher) !== held) return;
    held.route = route;
    const by = route === undefined ? [] : holdersOn(route, publisher);
    if (by.length > 0) this.#held.holdBy(publisher, by, this.#parts.now());
    else if (this.#held.drop(publisher) === held) this.#letGo(publisher, held);
  }

  #routeOf(publisher: Connection, topicName: string): Route | undefined {
    const topic = this.#parts.state.topics.find(topicName);
    const open = topic && publisher.openTopics.get(topic.id);
    return open && this.#parts.router.routeOf(publisher, open);
  }

  /** Publishers that this one held back may go on, in the order in which they came to wait. */
  #release(subscriber: Connection): void {
    for (const [publisher, held] of this.#held.release(subscriber)) this.#letGo(publisher, held);
  }

  /** Ends at most this publisher: others may wait for the same subscriber. */
  #letGo(publisher: Connection, held: Held): void {
    const { rests, watch, budget, end } = this.#parts;
    // One that was let go before may have taken this one with it.
    if (publisher.state === "DOOMED") return void held.rest.closeFds();
    rests.push(publisher, held.rest);
    try {
      watch.setHeld(publisher, false);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return end(publisher, cannotWatch(error, budget.figures));
    }
    if (held.isTold) this.#tell(publisher, held, false);
  }

  /** May end the publisher, where that is not read either. */
  #tell(publisher: Connection, { topic, since }: Held, isHeld: boolean): void {
    if (!publisher.wantsHeldWord) return;
    const heldMs = Math.round(this.#parts.now() - since);
    const body = heldBody({ topic, heldMs, isHeld });
    this.#parts.send(publisher, { opcode: OPCODE.HELD, id: 0, body });
  }
}
