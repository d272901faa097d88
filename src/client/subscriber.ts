/**
 * Subscribing: asks the broker for subscriptions, knows its numbers for them, and ends those that
 * it takes away. The mirror of publisher.ts; which messages go where is inbound.ts's.
 */

import { ArgumentError } from "../errors.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import {
  decodeSubscribeAck,
  subscribeBody,
  unsubscribeBody,
} from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { checkGroupName, checkPattern } from "../protocol/topics.ts";
import { OVERFLOW_POLICIES } from "../protocol/words.ts";
import type { Inbound } from "./inbound.ts";
import type { Gap } from "./message-queue.ts";
import {
  type AnySubscription,
  type SubscribeOptions,
  Subscription,
  type SubscriptionHost,
} from "./subscription.ts";

/** Sends a request. @returns the body of its ACK; rejects where it is refused or the bus has ended */
export type Requester = (opcode: number, body: ControlMap) => Promise<Uint8Array>;

/** What happens to subscriptions. */
export type SubscriberEvents = Pick<SubscriptionHost, "noteLost" | "noteFull">;

/** The subscribing half of a bus. */
export class Subscriber implements SubscriptionHost {
  readonly #inbound: Inbound;
  readonly #request: Requester;
  readonly #events: SubscriberEvents;
  /** Broker's numbers of subscriptions that were confirmed. */
  readonly #numbers = new Map<AnySubscription, number>();
  /** Subscriptions that were revoked in the very packet that confirmed them. */
  readonly #revokedEarly = new Map<number, Error>();
  /** Subscribe requests under way. */
  #subscribing = 0;

  constructor(inbound: Inbound, request: Requester, events: SubscriberEvents) {
    this.#inbound = inbound;
    this.#request = request;
    this.#events = events;
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

  /** SubscriptionHost */
  noteLost(gap: Gap): void {
    this.#events.noteLost(gap);
  }

  /** SubscriptionHost */
  noteFull(subscription: AnySubscription, isFull: boolean): void {
    this.#events.noteFull(subscription, isFull);
  }

  /** SubscriptionHost */
  async unsubscribe(subscription: AnySubscription): Promise<void> {
    this.#inbound.removeSubscription(subscription);
    const number = this.#numbers.get(subscription);
    this.#numbers.delete(subscription);
    if (number === undefined) return;
    const body = unsubscribeBody({ subscription: number });
    // Where it is refused no message comes any more either: the bus has ended, and closed() says
    // why; or the broker took the subscription away just before, and REVOKED says so.
    await this.#request(OPCODE.UNSUBSCRIBE, body).catch(() => {});
  }

  async #open(subscription: AnySubscription): Promise<void> {
    const { pattern, group, overflow } = subscription;
    this.#subscribing += 1;
    try {
      const body = await this.#request(
        OPCODE.SUBSCRIBE,
        subscribeBody({ pattern, group, overflow }),
      );
      const number = decodeSubscribeAck(body, 0, body.byteLength).subscription;
      const revocation = this.#revokedEarly.get(number);
      if (revocation !== undefined) throw revocation;
      this.#numbers.set(subscription, number);
    } finally {
      this.#subscribing -= 1;
      if (this.#subscribing === 0) this.#revokedEarly.clear();
    }
  }
}

function checkSubscription(
  pattern: string,
  { queueMessagesMax, group, overflow }: SubscribeOptions<never>,
): void {
  const flaw = checkPattern(pattern);
  if (flaw !== undefined) {
    throw new ArgumentError("ARGUMENT_PATTERN", `Cannot subscribe: ${flaw}`, "pattern");
  }
  const groupFlaw = group === undefined ? undefined : checkGroupName(group);
  if (groupFlaw !== undefined) {
    throw optionError("group", `the name of the queue group is wrong: ${groupFlaw}`);
  }
  if (overflow !== undefined && !OVERFLOW_POLICIES.includes(overflow)) {
    throw optionError("overflow", `overflow must be one of ${OVERFLOW_POLICIES.join(", ")}`);
  }
  if (queueMessagesMax === undefined) return;
  if (Number.isSafeInteger(queueMessagesMax) && queueMessagesMax >= 1) return;
  throw optionError("queueMessagesMax", "queueMessagesMax must be a whole number of 1 or more");
}

function optionError(option: string, flaw: string): ArgumentError {
  return new ArgumentError("ARGUMENT_OPTION", `Cannot subscribe: ${flaw}`, option);
}
