/**
 * One subscription: messages for an async iterator, through a bounded queue, or straight to a
 * callback. Fds that nobody took are closed when the next message is asked for.
 */

import { SUBSCRIPTION_MEMORY_BYTES_MAX, SUBSCRIPTION_MESSAGES_MAX_DEFAULT } from "./limits.ts";
import type { Message } from "./message.ts";

/** Choices for one subscription. */
export interface SubscribeOptions<Data = unknown> {
  /**
   * Called for each message instead of queueing it for an iterator. What it throws is thrown again
   * outside, as an uncaught error of the program.
   */
  readonly onMessage?: (message: Message<Data>) => void | Promise<void>;
  /** Messages that may wait for the iterator; more are dropped and counted in `lost`. */
  readonly queueMessagesMax?: number;
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
  noteLost(count: number): void;
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
  readonly #host: SubscriptionHost;
  readonly #onMessage: SubscribeOptions<Data>["onMessage"];
  readonly #queueMax: number;
  #queue: Message<Data>[] = [];
  /** Bytes of the large bodies in there. */
  #queuedMemoryBytes = 0;
  #head = 0;
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
    this.#queueMax = options.queueMessagesMax ?? SUBSCRIPTION_MESSAGES_MAX_DEFAULT;
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
    return this.#queue.length - this.#head;
  }

  /** The next message. After the end of the bus it rejects with the reason, if there was one. */
  next(): Promise<IteratorResult<Message<Data>>> {
    this.#letGoOfHandedOut();
    this.#isInHand = false;
    if (this.#head < this.#queue.length) {
      const value = this.#shift();
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
    } else if (this.#hasRoomFor(message)) {
      this.#queue.push(message);
      this.#queuedMemoryBytes += message.memoryBytes;
    } else this.#drop(message);
  }

  /** For the bus: the broker says that messages are missing here. */
  noteGap(count: number): void {
    this.#lost += count;
  }

  /** For the bus: the connection is lost, so messages are missing here, nobody knows how many. */
  noteDisconnect(): void {
    this.#disconnects += 1;
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
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(error);
    }
    this.#reportLoss();
  }

  #hasRoomFor({ memoryBytes }: Message<Data>): boolean {
    if (this.queued >= this.#queueMax) return false;
    if (memoryBytes === 0) return true;
    return this.#queuedMemoryBytes + memoryBytes <= SUBSCRIPTION_MEMORY_BYTES_MAX;
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

  #drop(message: Message<Data>): void {
    message[Symbol.dispose]();
    this.#lost += 1;
    this.#unreportedLoss += 1;
    if (this.#unreportedLoss === 1) setTimeout(() => this.#reportLoss());
  }

  /** One event for a burst of losses, not one for each message. */
  #reportLoss(): void {
    if (this.#unreportedLoss > 0) this.#host.noteLost(this.#unreportedLoss);
    this.#unreportedLoss = 0;
  }

  #shift(): Message<Data> {
    const message = this.#queue[this.#head] as Message<Data>;
    this.#head += 1;
    this.#queuedMemoryBytes -= message.memoryBytes;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head >= 1024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return message;
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
    for (let index = this.#head; index < this.#queue.length; index += 1) {
      this.#queue[index]?.[Symbol.dispose]();
    }
    this.#queue = [];
    this.#head = 0;
    this.#queuedMemoryBytes = 0;
    this.#isInHand = false;
    this.#noteFinished();
  }
}
