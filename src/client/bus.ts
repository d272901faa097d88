/**
 * A connection to a broker, as programs see it: publish, subscribe, flush, close. What it is made of,
 * and what happens to it, is in bus-parts.ts.
 */

import { TimeoutError } from "../errors.ts";
import {
  decodeExplainAck,
  decodeReloadPolicyAck,
  explainBody,
} from "../protocol/administration-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { clearRetainedBody, decodeClearRetainedAck } from "../protocol/service-messages.ts";
import type { QuerySubject } from "../protocol/words.ts";
import type { PublishReceipt, Receipt } from "../receipt.ts";
import type { DrainOptions, FlushOptions, PolicyQuestion, TopicMap } from "./bus-options.ts";
import { BusParts } from "./bus-parts.ts";
import type { Self } from "./dial.ts";
import { CLOSE_DRAIN_MS, DRAIN_TIMEOUT_MS_DEFAULT, FLUSH_TIMEOUT_MS_DEFAULT } from "./limits.ts";
import type { Link } from "./link.ts";
import type { Publisher, PublishOptions } from "./publisher.ts";
import { type QueryEntry, type QueryOptions, queryEntries } from "./queries.ts";
import type { Receipts } from "./receipts.ts";
import { ServiceApi } from "./service-api.ts";
import type { Services } from "./services.ts";
import type { BusError, StatusEvent } from "./status.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscribeOptions } from "./subscription-options.ts";
import { checkTopicArgument } from "./topic-argument.ts";

/**
 * An open connection to a broker, and those that follow it when the broker is restarted.
 * @example
 * await using bus = await connect();
 * bus.publish("sensors.kitchen", { celsius: 21.5 });
 * await bus.flush();
 */
export class Bus<Topics extends TopicMap = TopicMap> extends ServiceApi implements AsyncDisposable {
  readonly #link: Link;
  readonly #parts: BusParts;
  readonly #publisher: Publisher;
  readonly #receipts: Receipts;
  protected readonly services: Services;
  #drained: Promise<void> | undefined;

  /** Made by connect(). @param link open */
  constructor(link: Link) {
    super();
    this.#link = link;
    this.#parts = new BusParts(link);
    this.#publisher = this.#parts.publisher;
    this.#receipts = this.#parts.receipts;
    this.services = this.#parts.services;
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
   *   the receipt, which rejects with what is thrown otherwise, or with why the message was refused,
   *   and the receipt in that error
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
    this.#parts.assertKeeps();
    this.#receipts.notePublished();
    return this.#publisher.publish(topic, data, options);
  }

  /**
   * Lets the broker forget the last value of a topic, also that of a message published just before.
   * @returns whether there was one
   * @throws {ArgumentError} ARGUMENT_TOPIC
   * @throws {RejectedError} REJECTED_BY_POLICY for who may not publish there
   * @throws {ClosedError} as subscribe()
   */
  async clearRetained(topic: keyof Topics & string): Promise<boolean> {
    checkTopicArgument(topic, "Cannot clear the last value of");
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
   * @throws {RejectedError} REJECTED_BY_POLICY, with the rule; REJECTED_OVERFLOW for "block" where
   *   the policy does not set it
   * @throws {LimitError} LIMIT_SUBSCRIPTIONS
   * @throws {ClosedError} after the end of the bus; CLOSED_DISCONNECTED where the connection was
   *   not made again within 30 s
   * @throws what `signal` was aborted with
   */
  async subscribe<Pattern extends string>(
    pattern: Pattern,
    options: SubscribeOptions<Pattern extends keyof Topics ? Topics[Pattern] : unknown> = {},
  ): Promise<Subscription<Pattern extends keyof Topics ? Topics[Pattern] : unknown>> {
    if (this.#drained !== undefined) throw this.#link.closedError();
    return await this.#parts.subscriber.subscribe(pattern, options);
  }

  /**
   * Waits until the broker has routed everything published so far. While there is no connection it
   * waits for the next one, unless messages may be lost already.
   * @returns what became of all that was published since the last flush()
   * @throws {RejectedError} where a message since the last flush was denied: the first such error,
   *   with what became of all of them as its `receipt`
   * @throws {LimitError} LIMIT_QUEUED_FDS where fds could not be passed on; the same
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
   * @throws {ConfigError} CONFIG_POLICY where the files are wrong, or the broker has none; the old
   *   policy stays in force
   * @throws {RejectedError} REJECTED_NOT_ADMINISTRATOR
   * @throws {ClosedError} as subscribe()
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
   * @throws {ClosedError} as subscribe()
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
    return this.#parts.status.open();
  }

  /** Resolves at the end of the bus: with the reason, or undefined after close(). */
  closed(): Promise<BusError | undefined> {
    return this.#parts.closed;
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
    await Promise.all(this.#parts.restorables.map((restorable) => restorable.retire()));
    await this.#sent();
    // Without a connection and with nothing kept for the next one there is nothing to wait for.
    if (this.#link.isConnected || this.#receipts.hasLoss) await this.flush({ timeoutMs });
  }

  /** Rejects at the end of the bus, where that comes before its work is done. */
  async #endTooEarly(): Promise<void> {
    await this.#parts.closed;
    throw this.#link.closedError();
  }
}
