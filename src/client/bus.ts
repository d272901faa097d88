/**
 * A connection to a broker, as programs see it: publish, subscribe, flush, close. Joins publisher,
 * subscriber, what comes in and what goes out, and the requests between them.
 */

import { ClosedError, ProtocolError, RejectedError, TimeoutError } from "../errors.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import {
  decodeExplainAck,
  decodeOpenTopicAck,
  decodeReloadPolicyAck,
  decodeSyncAck,
  type ErrorBody,
  type Explain,
  explainBody,
  type GapBody,
  type GoodbyeBody,
  openTopicBody,
  type RevokedBody,
  type SyncAck,
} from "../protocol/control-messages.ts";
import { GAP_REASON, OPCODE } from "../protocol/opcodes.ts";
import { STATUS } from "../protocol/status-codes.ts";
import type { QuerySubject } from "../protocol/words.ts";
import { Inbound, type InboundHost } from "./inbound.ts";
import { CLOSE_DRAIN_MS, FLUSH_TIMEOUT_MS_DEFAULT } from "./limits.ts";
import type { Sender } from "./message.ts";
import { Outbound } from "./outbound.ts";
import { PendingRequests } from "./pending-requests.ts";
import { Publisher, type PublishOptions } from "./publisher.ts";
import { type QueryEntry, type QueryOptions, queryEntries } from "./queries.ts";
import { type GapReason, type StatusEvent, StatusFeed } from "./status.ts";
import { Subscriber } from "./subscriber.ts";
import type { SubscribeOptions, Subscription } from "./subscription.ts";
import type { Transport, TransportEvents } from "./transport.ts";
import { errorFromWire } from "./wire-error.ts";

/** Data by topic name, for `connect<Topics>()`. */
export type TopicMap = { [topic: string]: unknown };

/** What became of the messages published since the last flush. */
export interface Receipt {
  /** Messages that the broker took. */
  readonly published: number;
  /** Pairs of a message and a client subscribed to it: `delivered` + `dropped`. */
  readonly matched: number;
  /** Of these: handed to the subscriber's socket, or put into its queue in the broker. */
  readonly delivered: number;
  /** Of these: not, because that subscriber's queue was full. It is told. */
  readonly dropped: number;
}

/** Choices for flush(). */
export interface FlushOptions {
  /** Milliseconds; default 30,000. */
  readonly timeoutMs?: number;
}

/** A question to explain(). */
export type PolicyQuestion = Explain;

/** What the wire's numbers mean. */
const GAP_REASONS: ReadonlyMap<number, GapReason> = new Map([
  [GAP_REASON.SEND_QUEUE_FULL, "send-queue-full"],
  [GAP_REASON.BODY_REFUSED, "body-refused"],
]);

/** Who this client is, as the broker sees it. */
export type Self = Pick<Sender, "connection" | "uid" | "gid" | "pid">;

/**
 * An open connection.
 * @example
 * await using bus = await connect();
 * bus.publish("sensors.kitchen", { celsius: 21.5 });
 * await bus.flush();
 */
export class Bus<Topics extends TopicMap = TopicMap>
  implements TransportEvents, InboundHost, AsyncDisposable
{
  /** The path of the broker's socket. */
  readonly path: string;
  /** Who this client is, as the broker's kernel says. */
  readonly self: Self;
  readonly #status = new StatusFeed();
  readonly #pending = new PendingRequests();
  readonly #inbound = new Inbound(this);
  readonly #outbound: Outbound;
  readonly #publisher: Publisher;
  readonly #subscriber: Subscriber;
  readonly #closed = Promise.withResolvers<Error | undefined>();
  #transport: Transport | undefined;
  #isClosed = false;
  /** Why the connection is ending, once that is known. */
  #reason: Error | undefined;
  #firstDenial: Error | undefined;

  /** Made by connect(). */
  constructor(path: string, self: Self) {
    this.path = path;
    this.self = self;
    this.#outbound = new Outbound((error) => this.#noteDenied(error));
    this.#publisher = new Publisher(
      this.#outbound,
      (name) => this.#requestTopic(name),
      (error) => this.#noteDenied(error),
    );
    this.#subscriber = new Subscriber(
      this.#inbound,
      (opcode, body) => this.#request(opcode, body),
      (count) => this.#noteLost(count),
    );
  }

  /** For connect(): frames leave through this transport from now on. */
  attach(transport: Transport): void {
    this.#transport = transport;
    this.#outbound.attach(transport);
  }

  /**
   * Publishes a message. It leaves at the end of the tick, together with others.
   * A body of more than 65,520 bytes, up to 64 MiB, travels as sealed memory.
   * @param data a Uint8Array travels as bytes, a string as text, sealed Memory as bytes without
   *   another copy, anything else as msgpack
   * @returns false where much waits to be sent: a good moment to `await bus.flush()`
   * @throws {ArgumentError} ARGUMENT_TOPIC, ARGUMENT_DATA, ARGUMENT_FD
   * @throws {SyscallError} EMFILE, ENOMEM where there is no room for a large body
   * @throws {LimitError} LIMIT_MESSAGE_BYTES, LIMIT_MESSAGE_FDS, LIMIT_OUTBOUND, LIMIT_QUEUED_FDS
   * @throws {RejectedError} REJECTED_BY_POLICY once the broker has refused this topic. The first
   *   refusal is a "denied" status event and makes the next flush() reject; so is and does every
   *   refusal of files, by REJECTED_BY_POLICY, or REJECTED_FD_KIND for their kind
   * @throws {ClosedError} after the end of the bus
   */
  publish<Topic extends keyof Topics & string>(
    topic: Topic,
    data: Topics[Topic],
    options?: PublishOptions,
  ): boolean {
    if (this.#isClosed) throw this.#closedError();
    return this.#publisher.publish(topic, data, options);
  }

  /**
   * Subscribes to a topic or a pattern (`*` one token, `>` the rest).
   * @returns once the broker has confirmed it; iterate over it, or pass `onMessage`
   * @throws {ArgumentError} ARGUMENT_PATTERN, ARGUMENT_OPTION
   * @throws {RejectedError} REJECTED_BY_POLICY, with the rule
   * @throws {LimitError} LIMIT_SUBSCRIPTIONS
   * @throws {ClosedError} after the end of the bus
   */
  async subscribe<Pattern extends string>(
    pattern: Pattern,
    options: SubscribeOptions<Pattern extends keyof Topics ? Topics[Pattern] : unknown> = {},
  ): Promise<Subscription<Pattern extends keyof Topics ? Topics[Pattern] : unknown>> {
    return await this.#subscriber.subscribe(pattern, options);
  }

  /**
   * Waits until the broker has routed everything published so far.
   * @throws {RejectedError} where a message since the last flush was denied: the first such error
   * @throws {LimitError} LIMIT_QUEUED_FDS where fds could not be passed on
   * @throws {TimeoutError} TIMEOUT_FLUSH
   * @throws {ClosedError} where the connection ends before
   */
  async flush(options: FlushOptions = {}): Promise<Receipt> {
    if (this.#isClosed) throw this.#closedError();
    const { timeoutMs = FLUSH_TIMEOUT_MS_DEFAULT } = options;
    const { promise, resolve, reject } = Promise.withResolvers<SyncAck>();
    const startedAt = performance.now();
    const timer = setTimeout(() => {
      const elapsed = Math.round(performance.now() - startedAt);
      const message = `Cannot flush: the broker did not confirm it within ${timeoutMs} ms`;
      reject(new TimeoutError("TIMEOUT_FLUSH", message, elapsed));
    }, timeoutMs);
    this.#publisher.barrier(() => {
      const answer = this.#request(OPCODE.SYNC, undefined);
      answer.then((body) => decodeSyncAck(body, 0, body.byteLength)).then(resolve, reject);
    });
    try {
      const { published, matched, delivered, dropped } = await promise;
      const denial = this.#firstDenial;
      this.#firstDenial = undefined;
      if (denial !== undefined) throw denial;
      return { published, matched, delivered, dropped };
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Asks the broker to read its policy files again, as an administrator.
   * @returns how many rules are in force now
   * @throws {ConfigError} CONFIG_POLICY where the files are wrong; the old policy stays in force
   * @throws {RejectedError} REJECTED_NOT_ADMINISTRATOR
   */
  async reloadPolicy(): Promise<number> {
    const body = await this.#request(OPCODE.RELOAD_POLICY, undefined);
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
    const body = await this.#request(OPCODE.EXPLAIN, explainBody(about));
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
    return queryEntries((opcode, body) => this.#request(opcode, body), what, options);
  }

  /** What happens to this bus from now on: gaps, denials, the end. Each call has its own queue. */
  status(): AsyncIterableIterator<StatusEvent> {
    return this.#status.open();
  }

  /** Resolves at the end of the bus: with the reason, or undefined after close(). */
  closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /** Sends what waits, for at most a second, and closes. Does nothing the second time. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    await this.#drain();
    this.#finish(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** TransportEvents */
  onPacket(packet: Uint8Array): void {
    if (this.#isClosed) return;
    try {
      this.#inbound.take(packet);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#finish(error);
    }
  }

  /** TransportEvents */
  onWritable(): void {
    this.#outbound.onWritable();
  }

  /** TransportEvents */
  onClose(error: Error | undefined): void {
    const lost = `The broker at ${this.path} closed the connection`;
    const reason = this.#reason ?? new ClosedError("CLOSED_BY_PEER", lost, { cause: error });
    this.#finish(reason);
  }

  /** InboundHost */
  onAck(requestId: number, body: Uint8Array): void {
    this.#pending.resolve(requestId, body);
  }

  /** InboundHost */
  onError(requestId: number, body: ErrorBody, isFatal: boolean): void {
    const error = errorFromWire(body);
    if (isFatal) this.#reason = error;
    else if (requestId === 0) this.#noteDenied(error);
    else this.#pending.reject(requestId, error);
  }

  /** InboundHost */
  onGap(topic: string | undefined, gap: GapBody): void {
    const reason = GAP_REASONS.get(gap.reason) ?? "unknown";
    this.#status.emit({ type: "gap", topic, count: gap.count, reason });
  }

  /** InboundHost */
  onGoodbye(body: GoodbyeBody): void {
    this.#reason = errorFromWire(body);
  }

  /** InboundHost */
  onRevoked(body: RevokedBody): void {
    const { action, topic, message, rule } = body;
    const fields = { status: STATUS.REJECTED_BY_POLICY, rule, topic };
    const error = new RejectedError("REJECTED_BY_POLICY", message, fields);
    if (action === "publish") this.#publisher.revoke(topic, error);
    if (body.subscription !== undefined) this.#subscriber.revoke(body.subscription, error);
    this.#status.emit({ type: "revoked", action, topic, error });
  }

  /** InboundHost */
  onPolicyChanged(): void {
    this.#publisher.forgetDenials();
    this.#status.emit({ type: "policy-changed" });
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
  takeLaneFds(count: number): number[] {
    return this.#transport?.takeLaneFds(count) ?? [];
  }

  async #requestTopic(name: string): Promise<number> {
    const body = await this.#request(OPCODE.OPEN_TOPIC, openTopicBody({ topic: name }));
    return decodeOpenTopicAck(body, 0, body.byteLength).topic;
  }

  #request(opcode: number, body: ControlMap | undefined): Promise<Uint8Array> {
    if (this.#isClosed) return Promise.reject(this.#closedError());
    const { id, answer } = this.#pending.open();
    this.#outbound.control(body === undefined ? { opcode, id } : { opcode, id, body });
    return answer;
  }

  #noteLost(count: number): void {
    this.#status.emit({ type: "gap", topic: undefined, count, reason: "subscription-full" });
  }

  #noteDenied(error: Error): void {
    this.#firstDenial ??= error;
    this.#status.emit({ type: "denied", error });
  }

  /** Waits for messages that are held or unsent, but not for ever. */
  async #drain(): Promise<void> {
    let timer: Timer | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_DRAIN_MS);
    });
    const released = new Promise<void>((resolve) => this.#publisher.barrier(resolve));
    await Promise.race([released.then(() => this.#outbound.drained()), timeout]);
    clearTimeout(timer);
  }

  #closedError(): Error {
    const message = `The bus at ${this.path} is closed`;
    return this.#reason ?? new ClosedError("CLOSED_BY_USER", message);
  }

  /** The one end of a bus. @param reason undefined where the program wished it */
  #finish(reason: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reason = reason;
    this.#transport?.close();
    this.#publisher.clear();
    this.#outbound.clear();
    this.#pending.rejectAll(this.#closedError());
    for (const subscription of this.#inbound.subscriptions) subscription.end(reason);
    this.#status.emit({ type: "closed", error: reason });
    this.#status.end();
    this.#closed.resolve(reason);
  }
}
