/**
 * One subscription: messages for an async iterator, through a bounded queue, or straight to a
 * callback, through the same queue while too many callbacks are unfinished. Fds that nobody took are
 * closed when the next message is asked for.
 */

import { GapError, LimitError } from "../errors.ts";
import type { OverflowPolicy } from "../protocol/words.ts";
import { Callbacks, throwOutside } from "./callbacks.ts";
import { countGap, type Gap, type GrowingGap } from "./gaps.ts";
import {
  GROUP_MESSAGES_MAX_DEFAULT,
  SUBSCRIPTION_BYTES_MAX_DEFAULT,
  SUBSCRIPTION_MESSAGES_MAX_DEFAULT,
} from "./limits.ts";
import type { Message } from "./message.ts";
import { MessageQueue } from "./message-queue.ts";
import { QueueFill } from "./queue-fill.ts";
import type { QueueLimits } from "./queue-load.ts";
import type { Fill } from "./read-gate.ts";
import type { GapReason } from "./status.ts";
import type { SubscribeOptions } from "./subscription-options.ts";

/** A subscription whose type of data does not matter. */
// biome-ignore lint/suspicious/noExplicitAny: Data stands in both directions, so only any fits all
export type AnySubscription = Subscription<any>;

/** What a subscription needs of its bus. */
export interface SubscriptionHost {
  /** Stops messages from coming; resolves when the broker has confirmed it, and never rejects. */
  unsubscribe(subscription: AnySubscription): Promise<void>;
  /** Messages were dropped because the program is slower than the bus. */
  noteLost(gap: Gap): void;
  /** It has ended by its own overflow policy. */
  noteEnded(subscription: AnySubscription, error: LimitError): void;
  /** The subscription must lose nothing, and its queue is as full as this now. */
  noteFill(subscription: AnySubscription, fill: Fill): void;
  /** The program has taken a message of one that is not "room". */
  noteTaken(): void;
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
  /** As it was asked for. */
  readonly pattern: string;
  /** The queue group that it is in. */
  readonly group: string | undefined;
  /** What was asked of the broker, for messages that do not fit there. */
  readonly overflow: OverflowPolicy | undefined;
  readonly #host: SubscriptionHost;
  readonly #callbacks: Callbacks<Data> | undefined;
  readonly #onGap: SubscribeOptions<Data>["onGap"];
  readonly #throwsGaps: boolean;
  readonly #limits: QueueLimits;
  readonly #queue: MessageQueue<Data>;
  /** Of one that holds back who sends; undefined for all others. */
  readonly #fill: QueueFill | undefined;
  #waiting: Waiting<Data>[] = [];
  /** Messages with fds that the iterator was handed since its last next(). */
  #handedOut: Message<Data>[] = [];
  /** Losses of its own queue that the bus was not told of yet. */
  #unreported: GrowingGap[] = [];
  #lost = 0;
  #disconnects = 0;
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
    this.#onGap = options.onGap;
    this.#throwsGaps = options.gapErrors === true && options.onMessage === undefined;
    this.group = options.group;
    this.overflow = options.overflow;
    const isInGroup = options.group !== undefined;
    const overflow = options.overflow ?? (isInGroup ? "block" : "drop-newest");
    const max = isInGroup ? GROUP_MESSAGES_MAX_DEFAULT : SUBSCRIPTION_MESSAGES_MAX_DEFAULT;
    const messagesMax = options.queueMessagesMax ?? max;
    const bytesMax = options.queueBytesMax ?? SUBSCRIPTION_BYTES_MAX_DEFAULT;
    this.#limits = { messagesMax, bytesMax };
    this.#queue = new MessageQueue(this.#limits, overflow, this.#keepsGaps, this.#noteDropped);
    if (overflow === "block") {
      const losesBeyond = options.overflow === undefined;
      this.#fill = new QueueFill(this.#queue, losesBeyond, (fill) => host.noteFill(this, fill));
    }
    if (options.onMessage === undefined) return;
    const unfinished = { messagesMax: options.concurrency ?? messagesMax, bytesMax };
    this.#callbacks = new Callbacks(options.onMessage, unfinished, this.#callQueued);
  }

  /**
   * Messages that this subscription should have got and did not, as far as is known. Where very many
   * topics lose messages at once, the broker tells only how many the whole bus lost on the rest of
   * them: beside other subscriptions this one is told so, as a gap without a topic and a count, and
   * that is not counted here. The status event `gap` has the count.
   */
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

  /** Messages that wait for the iterator, or for callbacks to finish. */
  get queued(): number {
    return this.#queue.size;
  }

  /**
   * The next message. After the end of the bus it rejects with the reason, if there was one; with
   * `gapErrors`, with a GapError where messages are missing. Messages for callbacks do not come here.
   */
  next(): Promise<IteratorResult<Message<Data>>> {
    this.#letGoOfHandedOut();
    this.#isInHand = false;
    const gap = this.#callbacks === undefined ? this.#tellGaps() : undefined;
    if (gap !== undefined) return Promise.reject(new GapError(gap));
    const value = this.#callbacks === undefined ? this.#queue.shift() : undefined;
    if (value !== undefined) {
      this.#noteTaken();
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
    const callbacks = this.#callbacks;
    if (callbacks !== undefined) {
      if (callbacks.isBusy || this.#queue.size > 0) this.#enqueue(message);
      else callbacks.call(message);
    } else if (this.#waiting.length > 0) {
      this.#handOut(message);
      this.#waiting.shift()?.resolve({ done: false, value: message });
    } else this.#enqueue(message);
  }

  /** For the bus: the broker says that messages are missing here. */
  noteGap(gap: Gap): void {
    this.#lost += gap.count ?? 0;
    const isCaughtUp = this.#waiting.length > 0 || this.#callbacks !== undefined;
    if (!isCaughtUp || this.#queue.size > 0) return this.#queue.note(gap);
    this.#tellGap(gap);
    if (this.#throwsGaps) this.#waiting.shift()?.reject(new GapError(gap));
  }

  /** For the bus: the program takes nothing of it, and it keeps answers from being read. */
  endStanding(): void {
    if (!this.#isEnded) this.#endSlow(0, 0);
  }

  /** For the bus: the next connection may bring as much as this one, before its answers. */
  allowMore(): void {
    this.#fill?.allowMore();
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
    this.#fill?.end();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const waiting of this.#waiting.splice(0)) {
      if (error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(error);
    }
    this.#reportLoss();
  }

  /** For the bus: the program has closed it, so what waits for callbacks is let go. */
  forgetCallbacks(): void {
    if (this.#callbacks !== undefined) this.#discard();
  }

  get #keepsGaps(): boolean {
    return this.#throwsGaps || this.#onGap !== undefined;
  }

  #enqueue(message: Message<Data>): void {
    if (this.#fill?.losesMore === true) return this.#queue.lose(message);
    if (!this.#queue.push(message)) return this.#endFull(message);
    this.#fill?.update();
  }

  /** A callback has finished: those that waited for it are called. */
  readonly #callQueued = (): void => {
    const callbacks = this.#callbacks;
    while (callbacks !== undefined && !callbacks.isBusy) {
      this.#tellGaps();
      const message = this.#queue.shift();
      if (message === undefined) break;
      callbacks.call(message);
    }
    this.#noteTaken();
    this.#noteFinished();
  };

  #noteTaken(): void {
    if (this.#fill === undefined || this.#fill.isRoom) return;
    this.#fill.update();
    this.#host.noteTaken();
  }

  #endFull(message: Message<Data>): void {
    message[Symbol.dispose]();
    if (!this.#isEnded) this.#endSlow(1, message.byteLength);
  }

  /** Ends it behind what waits, beside which so much came. */
  #endSlow(messages: number, bytes: number): void {
    const error = this.#slowReader(this.#queue.size + messages, this.#queue.bytes + bytes);
    this.end(error);
    this.#host.noteEnded(this, error);
    void this.#host.unsubscribe(this);
  }

  #slowReader(messages: number, bytes: number): LimitError {
    const { messagesMax, bytesMax } = this.#limits;
    const isByCount = messages > messagesMax;
    const limit = isByCount ? messagesMax : bytesMax;
    const actual = isByCount ? messages : bytes;
    const what = `${actual} ${isByCount ? "messages" : "bytes of messages"} wait for it`;
    const text = `Subscription to "${this.pattern}" ended: ${what}, limit is ${limit}`;
    return new LimitError("LIMIT_SLOW_READER", text, { limit, actual });
  }

  readonly #onAbort = (): void => void this.close();

  #noteFinished(): void {
    if (this.#onFinished.length === 0) return;
    if ((this.#callbacks?.unfinished ?? 0) > 0 || this.#isInHand || this.queued > 0) return;
    for (const resolve of this.#onFinished.splice(0)) resolve();
  }

  readonly #noteDropped = (topic: string, reason: GapReason): void => {
    this.#lost += 1;
    if (this.#unreported.length === 0) setTimeout(() => this.#reportLoss());
    countGap(this.#unreported, topic, reason, 1);
  };

  /** One event for each topic of a burst of losses, not one for each message. */
  #reportLoss(): void {
    for (const gap of this.#unreported.splice(0)) this.#host.noteLost(gap);
  }

  /**
   * Tells what is missing before the next message in the queue.
   * @returns with `gapErrors`, a gap that is to be thrown before anything else is told
   */
  #tellGaps(): Gap | undefined {
    if (!this.#keepsGaps) return undefined;
    for (let gap = this.#queue.takeGap(); gap !== undefined; gap = this.#queue.takeGap()) {
      this.#tellGap(gap);
      if (this.#throwsGaps) return gap;
    }
    return undefined;
  }

  #tellGap(gap: Gap): void {
    try {
      this.#onGap?.(gap);
    } catch (error) {
      throwOutside(error);
    }
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
