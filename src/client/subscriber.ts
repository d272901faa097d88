/**
 * Subscribing: asks the broker for subscriptions, knows its numbers for them, and ends those that
 * it takes away. The mirror of publisher.ts; which messages go where is inbound.ts's.
 */

import { ArgumentError, LimitError, RejectedError } from "../errors.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import {
  decodeSubscribeAck,
  subscribeBody,
  unsubscribeBody,
} from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { checkGroupName } from "../protocol/topics.ts";
import { OVERFLOW_POLICIES } from "../protocol/words.ts";
import type { Gap } from "./gaps.ts";
import type { Inbound } from "./inbound.ts";
import { RESTORE_BATCH } from "./limits.ts";
import type { Repeat } from "./link.ts";
import type { Fill } from "./read-gate.ts";
import type { Restorable } from "./restorable.ts";
import { type AnySubscription, Subscription, type SubscriptionHost } from "./subscription.ts";
import type { SubscribeOptions } from "./subscription-options.ts";
import { checkPatternArgument } from "./topic-argument.ts";

/** Sends a request. @returns the body of its ACK; rejects where it is refused or the bus has ended */
export type Requester = (opcode: number, body: ControlMap, repeat?: Repeat) => Promise<Uint8Array>;

/** What happens to subscriptions. */
export type SubscriberEvents = Omit<SubscriptionHost, "unsubscribe">;

/** The subscribing half of a bus. */
export class Subscriber implements SubscriptionHost, Restorable {
  readonly #inbound: Inbound;
  readonly #request: Requester;
  readonly #events: SubscriberEvents;
  /** Broker's numbers of subscriptions that were confirmed. */
  readonly #numbers = new Map<AnySubscription, number>();
  /** Subscriptions that were revoked in the very packet that confirmed them. */
  readonly #revokedEarly = new Map<number, Error>();
  /** Subscribe requests under way. */
  #subscribing = 0;
  /** Those that the lost connection had and the next one does not have yet. */
  readonly #unrestored = new Set<AnySubscription>();
  /** Those that drain() waits for: they have ended for the broker, and not for the program. */
  readonly #retiring = new Set<AnySubscription>();
  readonly #onRefused: (pattern: string, error: RejectedError | LimitError) => void;

  /** @param onRefused told of a subscription that the broker grants no more after it came back */
  constructor(
    inbound: Inbound,
    request: Requester,
    events: SubscriberEvents,
    onRefused: (pattern: string, error: RejectedError | LimitError) => void = () => {},
  ) {
    this.#inbound = inbound;
    this.#request = request;
    this.#events = events;
    this.#onRefused = onRefused;
  }

  /** See Bus.subscribe(). */
  async subscribe<Data>(
    pattern: string,
    options: SubscribeOptions<Data>,
  ): Promise<Subscription<Data>> {
    checkSubscription(pattern, options);
    options.signal?.throwIfAborted();
    const subscription = new Subscription<Data>(pattern, this, options);
    // Messages may come before the answer.
    this.#inbound.addSubscription(subscription);
    try {
      await this.#open(subscription);
    } catch (error) {
      this.#inbound.removeSubscription(subscription);
      throw error;
    }
    subscription.obey(options.signal);
    return subscription;
  }

  /** The broker took a subscription away: it ends with this error. */
  revoke(number: number, error: Error): void {
    for (const [subscription, itsNumber] of this.#numbers) {
      if (itsNumber !== number) continue;
      this.#numbers.delete(subscription);
      this.#inbound.removeSubscription(subscription);
      subscription.end(error);
      return;
    }
    if (this.#subscribing > 0) this.#revokedEarly.set(number, error);
  }

  /** Subscriptions that the broker has confirmed. */
  get count(): number {
    return this.#numbers.size;
  }

  /** Whether a subscription asked for its end, in the place of a loss: overflow "disconnect". */
  get endsWhenSlow(): boolean {
    return this.#inbound.subscriptions.values().some(({ overflow }) => overflow === "disconnect");
  }

  /** Restorable */
  onLost(): void {
    this.#revokedEarly.clear();
    for (const subscription of this.#numbers.keys()) {
      this.#unrestored.add(subscription);
      subscription.noteDisconnect();
    }
    this.#numbers.clear();
    for (const subscription of this.#inbound.subscriptions) subscription.allowMore();
  }

  /** Restorable */
  async restore(): Promise<void> {
    const all = [...this.#unrestored];
    for (let start = 0; start < all.length; start += RESTORE_BATCH) {
      const batch = all.slice(start, start + RESTORE_BATCH);
      await Promise.all(batch.map((subscription) => this.#reopen(subscription)));
    }
  }

  /** Restorable */
  async retire(): Promise<void> {
    const all = [...this.#inbound.subscriptions];
    await Promise.all(
      all.map(async (subscription) => {
        await this.#unsubscribe(subscription);
        this.#inbound.removeSubscription(subscription);
        this.#retiring.add(subscription);
        subscription.end(undefined);
        await subscription.finished();
        this.#retiring.delete(subscription);
      }),
    );
  }

  /** The end of the bus. @param reason undefined where the program has closed it */
  end(reason: Error | undefined): void {
    for (const subscription of [...this.#inbound.subscriptions, ...this.#retiring]) {
      subscription.end(reason);
      if (reason === undefined) subscription.forgetCallbacks();
    }
  }

  /** SubscriptionHost */
  noteLost(gap: Gap): void {
    this.#events.noteLost(gap);
  }

  /** SubscriptionHost */
  noteFill(subscription: AnySubscription, fill: Fill): void {
    this.#events.noteFill(subscription, fill);
  }

  /** SubscriptionHost */
  noteTaken(): void {
    this.#events.noteTaken();
  }

  /** SubscriptionHost */
  noteEnded(subscription: AnySubscription, error: LimitError): void {
    this.#events.noteEnded(subscription, error);
  }

  /** SubscriptionHost */
  async unsubscribe(subscription: AnySubscription): Promise<void> {
    this.#inbound.removeSubscription(subscription);
    await this.#unsubscribe(subscription);
  }

  /** Messages that the broker sent before it knew still come. */
  async #unsubscribe(subscription: AnySubscription): Promise<void> {
    this.#unrestored.delete(subscription);
    const number = this.#numbers.get(subscription);
    this.#numbers.delete(subscription);
    if (number !== undefined) await this.#takeBack(number);
  }

  async #takeBack(number: number): Promise<void> {
    const body = unsubscribeBody({ subscription: number });
    // Where it is refused no message comes any more either: the bus has ended, and closed() says
    // why; or the connection did; or the broker took the subscription away just before, and REVOKED
    // says so.
    await this.#request(OPCODE.UNSUBSCRIBE, body, "once").catch(() => {});
  }

  async #open(subscription: AnySubscription): Promise<void> {
    const number = await this.#ask(subscription, "until-answered");
    this.#numbers.set(subscription, number);
  }

  async #reopen(subscription: AnySubscription): Promise<void> {
    if (!this.#unrestored.has(subscription)) return;
    try {
      const number = await this.#ask(subscription, "once");
      // It may have been closed meanwhile.
      if (this.#unrestored.delete(subscription)) this.#numbers.set(subscription, number);
      else void this.#takeBack(number);
    } catch (error) {
      if (!(error instanceof RejectedError || error instanceof LimitError)) throw error;
      this.#unrestored.delete(subscription);
      this.#inbound.removeSubscription(subscription);
      subscription.end(error);
      this.#onRefused(subscription.pattern, error);
    }
  }

  /** @returns the broker's number for it */
  async #ask({ pattern, group, overflow }: AnySubscription, repeat: Repeat): Promise<number> {
    this.#subscribing += 1;
    try {
      const asked = subscribeBody({ pattern, group, overflow });
      const body = await this.#request(OPCODE.SUBSCRIBE, asked, repeat);
      const number = decodeSubscribeAck(body, 0, body.byteLength).subscription;
      const revocation = this.#revokedEarly.get(number);
      if (revocation !== undefined) throw revocation;
      return number;
    } finally {
      this.#subscribing -= 1;
      if (this.#subscribing === 0) this.#revokedEarly.clear();
    }
  }
}

function checkSubscription(pattern: string, options: SubscribeOptions<never>): void {
  checkPatternArgument(pattern);
  const { group, overflow, concurrency, onMessage } = options;
  const groupFlaw = group === undefined ? undefined : checkGroupName(group);
  if (groupFlaw !== undefined) {
    throw optionError("group", `the name of the queue group is wrong: ${groupFlaw}`);
  }
  if (overflow !== undefined && !OVERFLOW_POLICIES.includes(overflow)) {
    throw optionError("overflow", `overflow must be one of ${OVERFLOW_POLICIES.join(", ")}`);
  }
  if (concurrency !== undefined && onMessage === undefined) {
    throw optionError("concurrency", "concurrency is for onMessage, and there is none");
  }
  checkCount("concurrency", concurrency);
  checkCount("queueMessagesMax", options.queueMessagesMax);
  checkCount("queueBytesMax", options.queueBytesMax);
}

function checkCount(option: string, count: number | undefined): void {
  if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) return;
  throw optionError(option, `${option} must be a whole number of 1 or more`);
}

function optionError(option: string, flaw: string): ArgumentError {
  return new ArgumentError("ARGUMENT_OPTION", `Cannot subscribe: ${flaw}`, option);
}
