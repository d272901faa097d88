/**
 * A reply in parts. The service may be so many parts ahead as it has credit, and gets new credit as
 * the program reads; so a slow reader slows the service down, and nothing piles up in between.
 */

import { FLAG_FAILED, FLAG_MORE } from "../protocol/opcodes.ts";
import { serviceErrorOf } from "./failure.ts";
import { ItemQueue } from "./item-queue.ts";
import { STREAM_CREDIT_STEP } from "./limits.ts";
import type { Message } from "./message.ts";
import { OpenCall } from "./open-call.ts";

/** The call under a ReplyStream. */
export class StreamCall extends OpenCall {
  readonly #parts = new ItemQueue<Message>();
  /** Parts with files that the program was handed since its last next(). */
  #handedOut: Message[] = [];
  /** Parts that were read since credit was last given. */
  #read = 0;

  take(reply: Message, flags: number): void {
    const hasMore = (flags & FLAG_MORE) !== 0;
    const isFailure = (flags & FLAG_FAILED) !== 0;
    const isPart = !isFailure && (hasMore || reply.byteLength > 0);
    if (isPart) this.#takePart(reply);
    if (hasMore || !this.finish()) return;
    this.#parts.end(isFailure ? serviceErrorOf(reply) : undefined);
    if (!isPart) reply[Symbol.dispose]();
  }

  /** The next part; waits for it as long as the call's time-out says. */
  next(): Promise<IteratorResult<Message>> {
    this.#letGoOfHandedOut();
    const part = this.#parts.shift();
    if (part !== undefined) {
      this.#handOut(part);
      return Promise.resolve({ done: false, value: part });
    }
    if (!this.isOver && !this.#parts.isWaited) this.host.deadlines.add(this, this.timeoutMs);
    return this.#parts.wait();
  }

  /** The program has had enough. */
  close(): void {
    if (this.finish()) this.host.cancel(this, 0);
    this.#discard();
    this.#parts.end(undefined);
  }

  protected fail(error: Error): void {
    this.#parts.end(error);
  }

  override giveUp(flags: number, error: Error): void {
    if (!this.isOver) this.#discard();
    super.giveUp(flags, error);
  }

  #takePart(part: Message): void {
    if (!this.#parts.push(part)) return;
    this.host.deadlines.remove(this);
    if (this.#parts.isWaited) this.host.deadlines.add(this, this.timeoutMs);
    this.#handOut(part);
  }

  #handOut(part: Message): void {
    if (part.fds.length > 0) this.#handedOut.push(part);
    this.#read += 1;
    if (this.#read < STREAM_CREDIT_STEP || this.isOver) return;
    this.host.grantCredit(this, this.#read);
    this.#read = 0;
  }

  #discard(): void {
    this.#letGoOfHandedOut();
    for (const part of this.#parts.drain()) part[Symbol.dispose]();
  }

  #letGoOfHandedOut(): void {
    if (this.#handedOut.length === 0) return;
    for (const part of this.#handedOut.splice(0)) part.fds.close();
  }
}

/**
 * The parts of one reply. Leaving the loop gives the call up, and the service is told. Files of a
 * part that nobody took are closed when the next part is asked for.
 * @example
 * for await (const part of bus.callStream("files.list", { path: "/" })) console.log(part.data);
 */
export class ReplyStream<Data = unknown>
  implements AsyncIterableIterator<Message<Data>>, AsyncDisposable
{
  readonly #call: StreamCall;

  /** Made by Bus.callStream(). */
  constructor(call: StreamCall) {
    this.#call = call;
  }

  /**
   * The next part.
   * @returns done behind the last one
   * @throws as Bus.call(), once; TimeoutError TIMEOUT_CALL where this part did not come in time
   */
  next(): Promise<IteratorResult<Message<Data>>> {
    return this.#call.next() as Promise<IteratorResult<Message<Data>>>;
  }

  /** Gives the call up. Does nothing where it is over. */
  async return(): Promise<IteratorResult<Message<Data>>> {
    this.#call.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#call.close();
  }
}
