/**
 * One subscription: messages for an async iterator, through a bounded queue, or straight to a
 * callback. Fds that nobody took are closed when the next message is asked for.
 */

import { GapError, LimitError } from "../errors.ts";
import type { OverflowPolicy } from "../protocol/words.ts";
import { GROUP_MESSAGES_MAX_DEFAULT, SUBSCRIPTION_MESSAGES_MAX_DEFAULT } from "./limits.ts";
import type { Message } from "./message.ts";
import { FULL, type Gap, MessageQueue, TAKEN } from "./message-queue.ts";

/** Choices for one subscription. */
export interface SubscribeOptions<Data = unknown> {
  /**
   * Called for each message instead of queueing it for an iterator. What it throws is thrown again
   * outside, as an uncaught error of the program.
   */
  readonly onMessage?: (message: Message<Data>) => void | Promise<void>;
  /** The queue group to join: of all its members, one gets each message. 1 to 64 characters. */
  readonly group?: string;
  /**
   * What happens to messages that come faster than they are read: in the broker's queue for this
   * client, and in the subscription's own. "block" needs the policy's leave. Default: in the broker
   * what the policy sets, else "drop-newest"; here "drop-newest", and "block" in a queue group.
   */
  readonly overflow?: OverflowPolicy;
  /**
   * Messages that may wait for the iterator. More are dealt with as `overflow` says; with "block"
   * nothing more is read from the broker, for any subscription of the bus. Default 65,536; 256 in a
   * queue group, so that work stays with those who are free.
   */
  readonly queueMessagesMax?: number;
  /** Called where messages are missing. */
  readonly onGap?: (gap: Gap) => void;
  /**
   * next() rejects with a GapError in the place of missing messages. The iteration can go on
   * afterwards: the subscription is still open.
   */
  readonly gapErrors?: boolean;
  /** Aborting closes the subscription. */
  readonly signal?: AbortSignal;
}

/** A subscription whose type of data does not matter. */
// biome-ignore lint/suspicious/noExplicitAny: Data stands in both directions, so only any fits all
export type AnySubscription = Subscription<any>;

/** What a subscription needs of its bus. */
export interface SubscriptionHost {
  /** Stops messages from coming; resolves when the broker has confirmed it, and never rejects. */
  unsubscribe(subscription: AnySubscription): Promise<void>;
  /** Messages were dropped because the iterator is slower than the bus. */
  noteLost(gap: Gap): void;
  /** The subscription must lose nothing and its queue is full, or is not any more. */
  noteFull(subscription: AnySubscription, isFull: boolean): void;
}

type Waiting<Data> = {
  readonly resolve: (result: IteratorResult<Message<Data>>) => void;
  readonly reject: (error: Error) => void;
};

/**
 * An open subscription.
 * @example
 * for await (const message of await bus.subscribe("sensors.>")) console.log(message.data);
 */
export class Subscription<Data = unknown>
  implements AsyncIterableIterator<Message<Data>>, AsyncDisposable
{
  readonly pattern: string;
  /** The queue group that it is in. */
  readonly group: string | undefined;
  /** What was asked of the broker, for messages that do not fit there. */
  readonly overflow: OverflowPolicy | undefined;
  readonly #host: SubscriptionHost;
  readonly #onMessage: SubscribeOptions<Data>["onMessage"];
  readonly #onGap: SubscribeOptions<Data>["onGap"];
  readonly #throwsGaps: boolean;
  readonly #queueMax: number;
  readonly #holdsBack: boolean;
  readonly #queue: MessageQueue<Data>;
  #isFull = false;
  #waiting: Waiting<Data>[] = [];
  /** Messages with fds that the iterator was handed since its last next(). */
  #handedOut: Message<Data>[] = [];
  #unreportedLoss = 0;
  #lost = 0;
  #disconnects = 0;
  /** Callbacks that were called and have not finished. */
  #running = 0;
  /** The iterator was handed a message and has not asked for the next one yet. */
  #isInHand = false;
  #onFinished: (() => void)[] = [];
  #isEnded = false;
  #error: Error | undefined;
  #signal: AbortSignal | undefined;

  /** Made by Bus.subscribe(). */
  constructor(pattern: string, host: SubscriptionHost, options: SubscribeOptions<Data> = {}) {
    this.pattern = pattern;
    this.#host = host;
    this.#onMessage = options.onMessage;
    this.#onGap = options.onGap;
    this.#throwsGaps = options.gapErrors === true;
    this.group = options.group;
    this.overflow = options.overflow;
    const isInGroup = options.group !== undefined;
    const overflow = options.overflow ?? (isInGroup ? "block" : "drop-newest");
    const max = isInGroup ? GROUP_MESSAGES_MAX_DEFAULT : SUBSCRIPTION_MESSAGES_MAX_DEFAULT;
    this.#queueMax = options.queueMessagesMax ?? max;
    this.#holdsBack = overflow === "block";
    this.#queue = new MessageQueue(this.#queueMax, overflow, this.#throwsGaps);
  }

  /** Messages that this subscription should have got and did not, as far as is known. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * How often the connection was lost while this subscription stood: each time it missed what was
   * published until the next one, and nobody can know how many messages. `lost` does not count them.
   */
  get disconnects(): number {
    return this.#disconnects;
  }

  /** Messages that wait for the iterator. */
  get queued(): number {
    return this.#queue.size;
  }

  /**
   * The next message. After the end of the bus it rejects with the reason, if there was one; with
   * `gapErrors`, with a GapError where messages are missing.
   */
  next(): Promise<IteratorResult<Message<Data>>> {
    this.#letGoOfHandedOut();
    this.#isInHand = false;
    const gap = this.#throwsGaps ? this.#queue.takeGap() : undefined;
    if (gap !== undefined) return Promise.reject(new GapError(gap));
    const value = this.#queue.shift();
    if (value !== undefined) {
      if (this.#isFull) this.#noteFull();
      this.#handOut(value);
      return Promise.resolve({ done: false, value });
    }
    if (this.#isEnded) {
      this.#noteFinished();
      const error = this.#error;
      this.#error = undefined;
      if (error !== undefined) return Promise.reject(error);
      return Promise.resolve({ done: true, value: undefined });
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Leaving a `for await` loop closes the subscription. */
  async return(): Promise<IteratorResult<Message<Data>>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends it; messages that still wait are let go, with their fds. Does nothing the second time. */
  async close(): Promise<void> {
    if (this.#isEnded) {
      this.#discard();
      return;
    }
    this.end(undefined);
    this.#discard();
    await this.#host.unsubscribe(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** For the bus: from now on aborting the signal closes the subscription. */
  obey(signal: AbortSignal | undefined): void {
    this.#signal = signal;
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort);
  }

  /** For the bus: a message came. */
  accept(message: Message<Data>): void {
    if (this.#onMessage !== undefined) this.#call(this.#onMessage, message);
    else if (this.#waiting.length > 0) {
      this.#handOut(message);
      this.#waiting.shift()?.resolve({ done: false, value: message });
    } else this.#enqueue(message);
  }

  /** For the bus: the broker says that messages are missing here. */
  noteGap(gap: Gap): void {
    this.#lost += gap.count ?? 0;
    this.#onGap?.(gap);
    if (!this.#throwsGaps) return;
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#queue.note(gap);
    else waiting.reject(new GapError(gap));
  }

  /** For the bus: the connection is lost, so messages are missing here, nobody knows how many. */
  noteDisconnect(): void {
    this.#disconnects += 1;
    this.noteGap({ topic: undefined, count: undefined, reason: "disconnected" });
  }

  /** For the bus: resolves when all that came is done with; for that the iterator must ask on. */
  finished(): Promise<void> {
    return new Promise((resolve) => {
      this.#onFinished.push(resolve);
      this.#noteFinished();
    });
  }

  /** For the bus: no message comes any more. What is queued can still be read. */
  end(error: Error | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    if (this.#isFull) this.#noteFull();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(error);
    }
    this.#reportLoss();
  }

  #enqueue(message: Message<Data>): void {
    const sizeBefore = this.#queue.size;
    const outcome = this.#queue.push(message);
    if (outcome === FULL) return this.#endFull(message);
    const dropped = sizeBefore + 1 - this.#queue.size;
    if (outcome !== TAKEN && dropped > 0) this.#noteDropped(dropped);
    if (this.#holdsBack && !this.#isFull) this.#noteFull();
  }

  /** Says whether the bus may go on reading, where that has changed. */
  #noteFull(): void {
    const isFull = this.#holdsBack && this.#queue.isFull && !this.#isEnded;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.#host.noteFull(this, isFull);
  }

  #endFull(message: Message<Data>): void {
    message[Symbol.dispose]();
    if (this.#isEnded) return;
    const fields = { limit: this.#queueMax, actual: this.#queue.size + 1 };
    const text = `Subscription to "${this.pattern}" ended: ${fields.actual} messages wait for it`;
    const limit = `${text}, limit is ${fields.limit}`;
    this.end(new LimitError("LIMIT_SLOW_READER", limit, fields));
    void this.#host.unsubscribe(this);
  }

  readonly #onAbort = (): void => void this.close();

  #call(onMessage: NonNullable<SubscribeOptions<Data>["onMessage"]>, message: Message<Data>): void {
    let result: void | Promise<void>;
    try {
      result = onMessage(message);
    } catch (error) {
      message.fds.close();
      queueMicrotask(() => {
        throw error;
      });
      return;
    }
    if (result instanceof Promise) void this.#finish(result, message);
    else if (message.fds.length > 0) message.fds.close();
  }

  async #finish(result: Promise<void>, message: Message<Data>): Promise<void> {
    this.#running += 1;
    try {
      await result;
    } finally {
      message.fds.close();
      this.#running -= 1;
      this.#noteFinished();
    }
  }

  #noteFinished(): void {
    if (this.#onFinished.length === 0) return;
    if (this.#running > 0 || this.#isInHand || this.queued > 0) return;
    for (const resolve of this.#onFinished.splice(0)) resolve();
  }

  #noteDropped(count: number): void {
    this.#lost += count;
    if (this.#unreportedLoss === 0) setTimeout(() => this.#reportLoss());
    this.#unreportedLoss += count;
  }

  /** One event for a burst of losses, not one for each message. */
  #reportLoss(): void {
    if (this.#unreportedLoss === 0) return;
    const reason = this.#queue.dropReason;
    const gap = { topic: undefined, count: this.#unreportedLoss, reason };
    this.#unreportedLoss = 0;
    this.#host.noteLost(gap);
    this.#onGap?.(gap);
  }

  #handOut(message: Message<Data>): void {
    this.#isInHand = true;
    if (message.fds.length > 0) this.#handedOut.push(message);
  }

  #letGoOfHandedOut(): void {
    if (this.#handedOut.length === 0) return;
    for (const message of this.#handedOut.splice(0)) message.fds.close();
  }

  #discard(): void {
    this.#letGoOfHandedOut();
    this.#queue.clear();
    this.#isInHand = false;
    this.#noteFinished();
  }
}
