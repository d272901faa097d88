/**
 * The callbacks of one subscription: calls them, and counts those whose promise is pending, so that
 * they are as bounded as messages in a queue. Who waits meanwhile, and where, is subscription.ts's.
 */

import type { Message } from "./message.ts";
import type { QueueLimits } from "./queue-load.ts";

/** What is called for each message. */
export type OnMessage<Data> = (message: Message<Data>) => void | Promise<void>;

/** Calls one function, for a bounded number of messages at a time. */
export class Callbacks<Data> {
  readonly #onMessage: OnMessage<Data>;
  readonly #limits: QueueLimits;
  readonly #onFinished: () => void;
  #unfinished = 0;
  /** Bytes of the bodies that unfinished callbacks have. */
  #bytes = 0;

  /**
   * @param limits of callbacks with a pending promise; call() must not be used beyond them
   * @param onFinished called when such a promise is settled
   */
  constructor(onMessage: OnMessage<Data>, limits: QueueLimits, onFinished: () => void) {
    this.#onMessage = onMessage;
    this.#limits = limits;
    this.#onFinished = onFinished;
  }

  /** Callbacks that were called and have not finished. */
  get unfinished(): number {
    return this.#unfinished;
  }

  /** Whether no more may be called before one has finished; by bytes, one body more may be there. */
  get isBusy(): boolean {
    const { messagesMax, bytesMax } = this.#limits;
    return this.#unfinished >= messagesMax || this.#bytes >= bytesMax;
  }

  /**
   * Calls it. The message's fds are closed when it has finished. What it throws, or its promise
   * rejects with, is thrown again outside.
   */
  call(message: Message<Data>): void {
    let result: void | Promise<void>;
    try {
      result = this.#onMessage(message);
    } catch (error) {
      message.fds.close();
      throwOutside(error);
      return;
    }
    if (result instanceof Promise) void this.#finish(result, message);
    else if (message.fds.length > 0) message.fds.close();
  }

  async #finish(result: Promise<void>, message: Message<Data>): Promise<void> {
    const { byteLength } = message;
    this.#unfinished += 1;
    this.#bytes += byteLength;
    try {
      await result;
    } finally {
      message.fds.close();
      this.#unfinished -= 1;
      this.#bytes -= byteLength;
      this.#onFinished();
    }
  }
}

/** Throws what a function of the program threw where the program, and not the library, fails of it. */
export function throwOutside(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
