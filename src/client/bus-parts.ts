/**
 * What a bus is made of, and what happens to it: frames from the broker that are not messages, a
 * lost connection and the next one, the end. What programs ask of a bus is in bus.ts.
 */

import { LimitError, RejectedError } from "../errors.ts";
import {
  decodeOpenTopicAck,
  type ErrorBody,
  type GoodbyeBody,
  openTopicBody,
  type RevokedBody,
} from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { Deadlines } from "./deadlines.ts";
import type { Gap } from "./gaps.ts";
import { Inbound, type InboundHost } from "./inbound.ts";
import type { Link, LinkHost } from "./link.ts";
import { Publisher } from "./publisher.ts";
import { ReadGate } from "./read-gate.ts";
import { Receipts } from "./receipts.ts";
import type { ReconnectPlan } from "./reconnection.ts";
import type { Restorable } from "./restorable.ts";
import type { ServiceLink } from "./service-link.ts";
import { Services } from "./services.ts";
import { type StatusEvent, StatusFeed } from "./status.ts";
import { Subscriber } from "./subscriber.ts";
import type { AnySubscription } from "./subscription.ts";
import { errorFromWire } from "./wire-error.ts";

/** See the head of this file. One for a bus. */
export class BusParts implements LinkHost, InboundHost {
  readonly #link: Link;
  readonly status = new StatusFeed();
  readonly publisher: Publisher;
  readonly subscriber: Subscriber;
  readonly services: Services;
  readonly receipts: Receipts;
  /** In the order in which they are restored. */
  readonly restorables: readonly Restorable[];
  readonly #inbound = new Inbound(this);
  readonly #readGate: ReadGate<AnySubscription>;
  readonly #closed = Promise.withResolvers<Error | undefined>();
  /** "disconnected" was told, and "connected" not since. */
  #isDisconnected = false;

  /** @param link open; it tells these parts from now on */
  constructor(link: Link) {
    this.#link = link;
    this.#readGate = new ReadGate<AnySubscription>({
      setPaused: (isPaused) => link.setPaused(isPaused),
      tellBroker: (isPaused) => link.tellPaused(isPaused),
      clock: link.clock,
      onStandstill: (full) => full.endStanding(),
    });
    this.publisher = new Publisher(
      link.outbound,
      (name) => this.#requestTopic(name),
      (error) => this.#noteDenied(error, false),
    );
    this.subscriber = new Subscriber(
      this.#inbound,
      (opcode, body, repeat) => link.request(opcode, body, repeat),
      {
        noteLost: (gap) => this.onGap(gap),
        noteFill: (subscription, fill) => this.#readGate.noteFill(subscription, fill),
        noteTaken: () => this.#readGate.noteTaken(),
        noteEnded: ({ pattern }, error) =>
          this.status.emit({ type: "subscription-ended", pattern, error }),
      },
      (topic, error) => this.status.emit({ type: "revoked", action: "subscribe", topic, error }),
    );
    this.receipts = new Receipts(link, this.publisher, this.#whyUnread);
    link.pending.onAwaited = (isAwaited) => this.#readGate.noteAwaited(isAwaited);
    this.services = new Services(this.#makeServiceLink());
    this.restorables = [this.subscriber, this.services];
    link.attach(this);
  }

  /** Resolves at the end of the bus: with the reason, or undefined where the program wished it. */
  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /**
   * Before something is published or called: there is a connection, or it may wait for the next one.
   * @throws {ClosedError} the reason of the end after it; CLOSED_DISCONNECTED where there is neither
   */
  assertKeeps(): void {
    if (this.#link.isConnected) return;
    if (this.#link.isClosed) throw this.#link.closedError();
    if (this.#link.plan?.whileDisconnected === "refuse") throw this.#link.disconnectedError();
  }

  /** LinkHost */
  onPacket(packet: Uint8Array): void {
    this.#inbound.take(packet);
  }

  /** LinkHost */
  wantsEnd(reason: Error): boolean {
    const isSlow = reason instanceof LimitError && reason.code === "LIMIT_SLOW_READER";
    return isSlow && this.subscriber.endsWhenSlow;
  }

  /** LinkHost */
  onLost(error: Error, { whileDisconnected, keepBytes }: ReconnectPlan): void {
    this.#inbound.reset();
    const hadSubscriptions = this.subscriber.count > 0;
    for (const restorable of this.restorables) restorable.onLost();
    const sent = this.receipts.unconfirmed;
    const unsent = this.#link.outbound.detach();
    this.publisher.suspend(unsent, keepBytes);
    const dropped = whileDisconnected === "refuse" ? this.publisher.clear() : 0;
    const unconfirmed = sent - unsent.length + dropped;
    this.receipts.noteLost(unconfirmed);
    // A connection that was lost before all was restored had nothing published over it.
    if (!this.#isDisconnected) this.status.emit({ type: "disconnected", error, unconfirmed });
    this.#isDisconnected = true;
    if (hadSubscriptions)
      this.onGap({ topic: undefined, count: undefined, reason: "disconnected" });
  }

  /** LinkHost */
  async restore(): Promise<void> {
    this.#readGate.renew();
    for (const restorable of this.restorables) await restorable.restore();
  }

  /** LinkHost */
  onRestored(attempts: number): void {
    this.#isDisconnected = false;
    this.publisher.resume();
    this.receipts.resume();
    this.status.emit({ type: "connected", attempts, self: this.#link.self });
  }

  /** LinkHost */
  onRefused(error: Error): void {
    this.#noteDenied(error, false);
  }

  /** LinkHost */
  onEnd(reason: Error | undefined): void {
    const sent = reason === undefined ? 0 : this.receipts.unconfirmed;
    const unsent = this.#link.outbound.clear();
    const kept = this.publisher.clear();
    const unconfirmed = (reason === undefined ? unsent : sent) + kept;
    this.receipts.rejectAll(this.#link.closedError());
    this.services.end(reason, this.#link.closedError());
    this.subscriber.end(reason);
    this.status.emit({ type: "closed", error: reason, unconfirmed });
    this.status.end();
    this.#closed.resolve(reason);
  }

  /** InboundHost */
  onAck(requestId: number, body: Uint8Array): void {
    this.#link.pending.resolve(requestId, body);
  }

  /** InboundHost */
  onError(requestId: number, body: ErrorBody, isFatal: boolean): void {
    const error = errorFromWire(body);
    if (isFatal) this.#link.noteReason(error);
    else if (requestId === 0) this.#noteDenied(error, true);
    else this.#link.pending.reject(requestId, error);
  }

  /** InboundHost */
  onGap({ topic, count, reason }: Gap): void {
    this.status.emit({ type: "gap", topic, count, reason });
  }

  /** InboundHost */
  onGoodbye(body: GoodbyeBody): void {
    this.#link.noteReason(errorFromWire(body));
  }

  /** InboundHost */
  onRevoked(body: RevokedBody): void {
    const { action, topic, message, rule } = body;
    const fields = { status: STATUS.REJECTED_BY_POLICY, rule, topic };
    const error = new RejectedError("REJECTED_BY_POLICY", message, fields);
    if (action === "publish") this.publisher.revoke(topic, error);
    this.services.revoke(action, topic, error);
    if (body.subscription !== undefined) this.subscriber.revoke(body.subscription, error);
    this.status.emit({ type: "revoked", action, topic, error });
  }

  /** InboundHost */
  onPolicyChanged(): void {
    this.publisher.forgetDenials();
    this.status.emit({ type: "policy-changed" });
  }

  /** InboundHost */
  noteStatus(event: StatusEvent): void {
    this.status.emit(event);
  }

  /** InboundHost */
  onFdsLost(topic: string, count: number): void {
    this.status.emit({ type: "fds-lost", topic, count });
  }

  /** InboundHost */
  onBodyLost(topic: string): void {
    this.status.emit({ type: "gap", topic, count: 1, reason: "body-lost" });
  }

  /** InboundHost */
  onServiceFrame(packet: Uint8Array, words: Uint32Array, at: number): void {
    this.services.onFrame(packet, words, at);
  }

  /** InboundHost */
  takeLaneFds(count: number): number[] {
    return this.#link.takeLaneFds(count);
  }

  async #requestTopic(name: string): Promise<number> {
    const body = await this.#link.request(
      OPCODE.OPEN_TOPIC,
      openTopicBody({ topic: name }),
      "once",
    );
    return decodeOpenTopicAck(body, 0, body.byteLength).topic;
  }

  #makeServiceLink(): ServiceLink {
    const link = this.#link;
    return {
      pending: link.pending,
      outbound: link.outbound,
      deadlines: new Deadlines(link.clock),
      clock: link.clock,
      assertKeeps: () => this.assertKeeps(),
      canAsk: () => link.canAsk,
      mayWait: () => link.mayWait,
      ready: () => link.ready(),
      ask: (opcode, body, take, repeat) => link.ask(opcode, body, take, repeat),
      post: (opcode, body, waiter) => link.post(opcode, body, waiter),
      senderOf: (connection) => this.#inbound.senderOf(connection),
      takeLaneFds: (count) => link.takeLaneFds(count),
      whyUnread: this.#whyUnread,
      awaitNews: (news) => this.#readGate.await(news),
      noteStatus: (event) => this.status.emit(event),
    };
  }

  /** Why what was awaited could not be read, behind the words that it did not come; or nothing. */
  readonly #whyUnread = (): string => {
    const full = this.#readGate.obstacle;
    if (full === undefined) return "";
    return `: nothing is read while ${full.queued} messages wait in the subscription to "${full.pattern}"`;
  };

  #noteDenied(error: Error, isFromBroker: boolean): void {
    this.receipts.noteDenied(error, isFromBroker);
    this.status.emit({ type: "denied", error });
  }
}
