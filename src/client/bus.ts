/**
 * A connection to a broker, as programs see it: publish, subscribe, flush, close. Joins publisher,
 * subscriber, what comes in, and the link under them, which may be lost and made again.
 */

import { ArgumentError, RejectedError, TimeoutError } from "../errors.ts";
import {
  decodeExplainAck,
  decodeOpenTopicAck,
  decodeReloadPolicyAck,
  type ErrorBody,
  explainBody,
  type GoodbyeBody,
  openTopicBody,
  type RevokedBody,
} from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { clearRetainedBody, decodeClearRetainedAck } from "../protocol/service-messages.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { checkTopicName } from "../protocol/topics.ts";
import type { QuerySubject } from "../protocol/words.ts";
import type { DrainOptions, FlushOptions, PolicyQuestion, TopicMap } from "./bus-options.ts";
import { Deadlines } from "./deadlines.ts";
import type { Self } from "./dial.ts";
import type { Gap } from "./gaps.ts";
import { Inbound, type InboundHost } from "./inbound.ts";
import { CLOSE_DRAIN_MS, DRAIN_TIMEOUT_MS_DEFAULT, FLUSH_TIMEOUT_MS_DEFAULT } from "./limits.ts";
import type { Link, LinkHost } from "./link.ts";
import { Publisher, type PublishOptions } from "./publisher.ts";
import { type QueryEntry, type QueryOptions, queryEntries } from "./queries.ts";
import { ReadGate } from "./read-gate.ts";
import { type PublishReceipt, type Receipt, Receipts } from "./receipts.ts";
import type { ReconnectPlan } from "./reconnection.ts";
import type { Restorable } from "./restorable.ts";
import { ServiceApi } from "./service-api.ts";
import type { ServiceLink } from "./service-link.ts";
import { Services } from "./services.ts";
import { type StatusEvent, StatusFeed } from "./status.ts";
import { Subscriber } from "./subscriber.ts";
import type { AnySubscription, SubscribeOptions, Subscription } from "./subscription.ts";
import { errorFromWire } from "./wire-error.ts";

/**
 * An open connection.
 * @example
 * await using bus = await connect();
 * bus.publish("sensors.kitchen", { celsius: 21.5 });
 * await bus.flush();
 */
export class Bus<Topics extends TopicMap = TopicMap>
  extends ServiceApi
  implements LinkHost, InboundHost, AsyncDisposable
{
  readonly #link: Link;
  readonly #status = new StatusFeed();
  readonly #inbound = new Inbound(this);
  readonly #publisher: Publisher;
  readonly #subscriber: Subscriber;
  protected readonly services: Services;
  readonly #receipts: Receipts;
  readonly #readGate: ReadGate<AnySubscription>;
  /** In the order in which they are restored. */
  readonly #restorables: readonly Restorable[];
  readonly #closed = Promise.withResolvers<Error | undefined>();
  /** "disconnected" was told, and "connected" not since. */
  #isDisconnected = false;
  #drained: Promise<void> | undefined;

  /** Made by connect(). @param link open */
  constructor(link: Link) {
    super();
    this.#link = link;
    this.#readGate = new ReadGate<AnySubscription>({
      setPaused: (isPaused) => link.setPaused(isPaused),
      tellBroker: (isPaused) => link.tellPaused(isPaused),
      clock: link.clock,
      onStandstill: (full) => full.endStanding(),
    });
    this.#publisher = new Publisher(
      link.outbound,
      (name) => this.#requestTopic(name),
      (error) => this.#noteDenied(error, false),
    );
    this.#subscriber = new Subscriber(
      this.#inbound,
      (opcode, body, repeat) => link.request(opcode, body, repeat),
      {
        noteLost: (gap) => this.onGap(gap),
        noteFill: (subscription, fill) => this.#readGate.noteFill(subscription, fill),
        noteTaken: () => this.#readGate.noteTaken(),
        noteEnded: ({ pattern }, error) =>
          this.#status.emit({ type: "subscription-ended", pattern, error }),
      },
      (topic, error) => this.#status.emit({ type: "revoked", action: "subscribe", topic, error }),
    );
    this.#receipts = new Receipts(link, this.#publisher, this.#whyUnread);
    link.pending.onAwaited = (isAwaited) => this.#readGate.noteAwaited(isAwaited);
    this.services = new Services(this.#makeServiceLink());
    this.#restorables = [this.#subscriber, this.services];
    link.attach(this);
  }

  /** The path of the broker's socket. */
  get path(): string {
    return this.#link.path;
  }

  /** Who this client is, as the broker's kernel says. `connection` is another after a reconnect. */
  get self(): Self {
    return this.#link.self;
  }

  /** False while a lost connection is made again, and after the end. */
  get isConnected(): boolean {
    return this.#link.isConnected;
  }

  /**
   * Publishes a message. It leaves at the end of the tick, together with others.
   * A body of more than 65,520 bytes, up to 64 MiB, travels as sealed memory.
   * @param data a Uint8Array travels as bytes, a string as text, sealed Memory as bytes without
   *   another copy, anything else as msgpack
   * @param options with `receipt: true`, what became of this one message is waited for
   * @returns false where much waits to be sent: a good moment to `await bus.flush()`; or a promise of
   *   the receipt, which rejects with what is thrown otherwise, or with why the message was refused
   * @throws {ArgumentError} ARGUMENT_TOPIC, ARGUMENT_DATA, ARGUMENT_FD
   * @throws {SyscallError} EMFILE, ENOMEM where there is no room for a large body
   * @throws {LimitError} LIMIT_MESSAGE_BYTES, LIMIT_MESSAGE_FDS, LIMIT_OUTBOUND, LIMIT_QUEUED_FDS
   * @throws {RejectedError} REJECTED_BY_POLICY once the broker has refused this topic. The first
   *   refusal is a "denied" status event and makes the next flush() reject; so is and does every
   *   refusal of files, by REJECTED_BY_POLICY, or REJECTED_FD_KIND for their kind; and with `retain`
   *   REJECTED_RETAIN, or LIMIT_RETAINED as a LimitError: then nobody has got the message
   * @throws {ClosedError} after the end of the bus; CLOSED_DISCONNECTED while there is no
   *   connection, where `whileDisconnected` is "refuse", or where a receipt is asked for; such a
   *   promise rejects with it, too, where the connection is lost before the receipt is there
   */
  publish<Topic extends keyof Topics & string>(
    topic: Topic,
    data: Topics[Topic],
    options?: PublishOptions & { readonly receipt?: false },
  ): boolean;
  publish<Topic extends keyof Topics & string>(
    topic: Topic,
    data: Topics[Topic],
    options: PublishOptions & { readonly receipt: true },
  ): Promise<PublishReceipt>;
  publish<Topic extends keyof Topics & string>(
    topic: Topic,
    data: Topics[Topic],
    options?: PublishOptions & { readonly receipt?: boolean },
  ): boolean | Promise<PublishReceipt> {
    if (options?.receipt === true) {
      return this.#receipts.around(() => this.#publisher.publish(topic, data, options));
    }
    if (!this.#link.isConnected) this.#checkKeeps();
    this.#receipts.notePublished();
    return this.#publisher.publish(topic, data, options);
  }

  /**
   * Lets the broker forget the last value of a topic, also that of a message published just before.
   * @returns whether there was one
   * @throws {ArgumentError} ARGUMENT_TOPIC
   * @throws {RejectedError} REJECTED_BY_POLICY for who may not publish there
   * @throws {ClosedError} after the end of the bus
   */
  async clearRetained(topic: keyof Topics & string): Promise<boolean> {
    const flaw = checkTopicName(topic);
    if (flaw !== undefined) {
      throw new ArgumentError("ARGUMENT_TOPIC", `Cannot clear last value: ${flaw}`, "topic");
    }
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    this.#publisher.barrier(() =>
      resolve(this.#link.request(OPCODE.CLEAR_RETAINED, clearRetainedBody({ topic }))),
    );
    const body = await promise;
    return decodeClearRetainedAck(body, 0, body.byteLength).cleared;
  }

  /**
   * Subscribes to a topic or a pattern (`*` one token, `>` the rest). It outlives the connection:
   * a "disconnected" gap is told, and the messages of the next connection follow.
   * @returns once the broker has confirmed it; iterate over it, or pass `onMessage`
   * @throws {ArgumentError} ARGUMENT_PATTERN, ARGUMENT_OPTION
   * @throws {RejectedError} REJECTED_BY_POLICY, with the rule
   * @throws {LimitError} LIMIT_SUBSCRIPTIONS
   * @throws {ClosedError} after the end of the bus; CLOSED_DISCONNECTED where the connection was
   *   not made again within 30 s
   */
  async subscribe<Pattern extends string>(
    pattern: Pattern,
    options: SubscribeOptions<Pattern extends keyof Topics ? Topics[Pattern] : unknown> = {},
  ): Promise<Subscription<Pattern extends keyof Topics ? Topics[Pattern] : unknown>> {
    if (this.#drained !== undefined) throw this.#link.closedError();
    return await this.#subscriber.subscribe(pattern, options);
  }

  /**
   * Waits until the broker has routed everything published so far. While there is no connection it
   * waits for the next one, unless messages may be lost already.
   * @throws {RejectedError} where a message since the last flush was denied: the first such error
   * @throws {LimitError} LIMIT_QUEUED_FDS where fds could not be passed on
   * @throws {TimeoutError} TIMEOUT_FLUSH
   * @throws {ClosedError} CLOSED_DISCONNECTED where messages since the last flush may be lost with
   *   a connection: it tells how many, and once; the reason after the end of the bus
   */
  async flush(options: FlushOptions = {}): Promise<Receipt> {
    const { timeoutMs = FLUSH_TIMEOUT_MS_DEFAULT, untilFdsTaken } = options;
    return await this.#receipts.flush(timeoutMs, untilFdsTaken);
  }

  /**
   * Asks the broker to read its policy files again, as an administrator.
   * @returns how many rules are in force now
   * @throws {ConfigError} CONFIG_POLICY where the files are wrong; the old policy stays in force
   * @throws {RejectedError} REJECTED_NOT_ADMINISTRATOR
   */
  async reloadPolicy(): Promise<number> {
    const body = await this.#link.request(OPCODE.RELOAD_POLICY, undefined);
    return decodeReloadPolicyAck(body, 0, body.byteLength).rules;
  }

  /**
   * Asks the broker what its policy says of this client, or as an administrator of another, and why.
   * @param about action as the policy file calls it; the topic, or a pattern for "subscribe"; uid,
   *   and what goes with it, for somebody else
   * @returns plain data, as `seqbus policy explain --json` prints it
   * @throws {RejectedError} REJECTED_NOT_ADMINISTRATOR, REJECTED_ACTION, REJECTED_TOPIC_NAME,
   *   REJECTED_PATTERN
   */
  async explain(about: PolicyQuestion): Promise<unknown> {
    const body = await this.#link.request(OPCODE.EXPLAIN, explainBody(about));
    return JSON.parse(decodeExplainAck(body, 0, body.byteLength).explanation);
  }

  /**
   * Asks the broker what it knows: its figures, clients, services, topics, subscriptions.
   * Administrators are told everything, others what concerns connections of their own user.
   * @example
   * for await (const { topic, published } of bus.query("topics", { about: "sensors.>" })) { … }
   * @throws {RejectedError} REJECTED_PATTERN
   * @throws {ClosedError} where the connection ends before the last answer
   */
  query(what: QuerySubject, options: QueryOptions = {}): AsyncGenerator<QueryEntry, void> {
    return queryEntries((opcode, body) => this.#link.request(opcode, body), what, options);
  }

  /**
   * What happens to this bus from now on: gaps, denials, a lost connection, the end. Each call has
   * its own queue.
   */
  status(): AsyncIterableIterator<StatusEvent> {
    return this.#status.open();
  }

  /** Resolves at the end of the bus: with the reason, or undefined after close(). */
  closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /** Sends what waits, for at most a second, and closes. Does nothing the second time. */
  async close(): Promise<void> {
    if (this.#link.isClosed) return;
    let timer: Timer | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_DRAIN_MS);
    });
    await Promise.race([this.#sent(), timeout]);
    clearTimeout(timer);
    this.#link.finish(undefined);
  }

  /**
   * Finishes and leaves: ends all subscriptions, lets their queued messages be read and callbacks
   * finish, sends what waits, flushes, and closes. A loop over a subscription ends after its last
   * message; one that asks for no more messages is waited for in vain.
   * @throws {TimeoutError} TIMEOUT_DRAIN where that takes too long; the bus is closed all the same
   * @throws what flush() throws; the bus is closed all the same
   */
  drain(options: DrainOptions = {}): Promise<void> {
    this.#drained ??= this.#link.isClosed ? Promise.resolve() : this.#drain(options);
    return this.#drained;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** LinkHost */
  onPacket(packet: Uint8Array): void {
    this.#inbound.take(packet);
  }

  /** LinkHost */
  onLost(error: Error, { whileDisconnected, keepBytes }: ReconnectPlan): void {
    this.#inbound.reset();
    const hadSubscriptions = this.#subscriber.count > 0;
    for (const restorable of this.#restorables) restorable.onLost();
    const sent = this.#receipts.unconfirmed;
    const unsent = this.#link.outbound.detach();
    this.#publisher.suspend(unsent, keepBytes);
    const dropped = whileDisconnected === "refuse" ? this.#publisher.clear() : 0;
    const unconfirmed = sent - unsent.length + dropped;
    this.#receipts.noteLost(unconfirmed);
    // A connection that was lost before all was restored had nothing published over it.
    if (!this.#isDisconnected) this.#status.emit({ type: "disconnected", error, unconfirmed });
    this.#isDisconnected = true;
    if (hadSubscriptions)
      this.onGap({ topic: undefined, count: undefined, reason: "disconnected" });
  }

  /** LinkHost */
  async restore(): Promise<void> {
    this.#readGate.renew();
    for (const restorable of this.#restorables) await restorable.restore();
  }

  /** LinkHost */
  onRestored(attempts: number): void {
    this.#isDisconnected = false;
    this.#publisher.resume();
    this.#receipts.resume();
    this.#status.emit({ type: "connected", attempts, self: this.self });
  }

  /** LinkHost */
  onRefused(error: Error): void {
    this.#noteDenied(error, false);
  }

  /** LinkHost */
  onEnd(reason: Error | undefined): void {
    const sent = reason === undefined ? 0 : this.#receipts.unconfirmed;
    const unsent = this.#link.outbound.clear();
    const kept = this.#publisher.clear();
    const unconfirmed = (reason === undefined ? unsent : sent) + kept;
    this.#receipts.rejectAll(this.#link.closedError());
    this.services.end(reason, this.#link.closedError());
    this.#subscriber.end(reason);
    this.#status.emit({ type: "closed", error: reason, unconfirmed });
    this.#status.end();
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
    this.#status.emit({ type: "gap", topic, count, reason });
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
    if (action === "publish") this.#publisher.revoke(topic, error);
    this.services.revoke(action, topic, error);
    if (body.subscription !== undefined) this.#subscriber.revoke(body.subscription, error);
    this.#status.emit({ type: "revoked", action, topic, error });
  }

  /** InboundHost */
  onPolicyChanged(): void {
    this.#publisher.forgetDenials();
    this.#status.emit({ type: "policy-changed" });
  }

  /** InboundHost */
  noteStatus(event: StatusEvent): void {
    this.#status.emit(event);
  }

  /** InboundHost */
  onFdsLost(topic: string, count: number): void {
    this.#status.emit({ type: "fds-lost", topic, count });
  }

  /** InboundHost */
  onBodyLost(topic: string): void {
    this.#status.emit({ type: "gap", topic, count: 1, reason: "body-lost" });
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
      assertKeeps: () => {
        if (!link.isConnected) this.#checkKeeps();
      },
      canAsk: () => link.canAsk,
      mayWait: () => link.mayWait,
      ready: () => link.ready(),
      ask: (opcode, body, take, repeat) => link.ask(opcode, body, take, repeat),
      post: (opcode, body, waiter) => link.post(opcode, body, waiter),
      senderOf: (connection) => this.#inbound.senderOf(connection),
      takeLaneFds: (count) => link.takeLaneFds(count),
      whyUnread: this.#whyUnread,
      awaitNews: (news) => this.#readGate.await(news),
      noteStatus: (event) => this.#status.emit(event),
    };
  }

  /** Why what was awaited could not be read, behind the words that it did not come; or nothing. */
  readonly #whyUnread = (): string => {
    const full = this.#readGate.obstacle;
    if (full === undefined) return "";
    return `: nothing is read while ${full.queued} messages wait in the subscription to "${full.pattern}"`;
  };

  #noteDenied(error: Error, isFromBroker: boolean): void {
    this.#receipts.noteDenied(error, isFromBroker);
    this.#status.emit({ type: "denied", error });
  }

  /** Whether publish() may go on without a connection. */
  #checkKeeps(): void {
    if (this.#link.isClosed) throw this.#link.closedError();
    if (this.#link.plan?.whileDisconnected === "refuse") throw this.#link.disconnectedError();
  }

  /** Resolves when nothing waits any more, neither for a topic nor for the socket. */
  async #sent(): Promise<void> {
    do {
      await new Promise<void>((resolve) => this.#publisher.barrier(resolve));
      await this.#link.outbound.drained();
      // A connection that was lost meanwhile gave messages back.
    } while (this.#publisher.holdsMessages);
  }

  async #drain({ timeoutMs = DRAIN_TIMEOUT_MS_DEFAULT }: DrainOptions): Promise<void> {
    const startedAt = performance.now();
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      const elapsed = Math.round(performance.now() - startedAt);
      const message = `Cannot drain: not everything was finished within ${timeoutMs} ms`;
      reject(new TimeoutError("TIMEOUT_DRAIN", message, elapsed));
    }, timeoutMs);
    try {
      await Promise.race([this.#finishWork(timeoutMs), late, this.#endTooEarly()]);
    } finally {
      clearTimeout(timer);
      this.#link.finish(undefined);
    }
  }

  async #finishWork(timeoutMs: number): Promise<void> {
    await Promise.all(this.#restorables.map((restorable) => restorable.retire()));
    await this.#sent();
    // Without a connection and with nothing kept for the next one there is nothing to wait for.
    if (this.#link.isConnected || this.#receipts.hasLoss) await this.flush({ timeoutMs });
  }

  /** Rejects at the end of the bus, where that comes before its work is done. */
  async #endTooEarly(): Promise<void> {
    await this.#closed.promise;
    throw this.#link.closedError();
  }
}
