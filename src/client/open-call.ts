/**
 * One call that is not over: its id, its deadline, its signal, and that it ends once, however it
 * ends. What a reply means is for the two kinds of call.
 */

import { ProtocolError, TimeoutError } from "../errors.ts";
import { FLAG_TIMED_OUT } from "../protocol/opcodes.ts";
import { type Deadlines, TimedEntry } from "./deadlines.ts";
import { fdShortage } from "./fd-shortage.ts";
import type { KeptRequest } from "./kept-requests.ts";
import type { Message } from "./message.ts";
import type { Waiter } from "./pending-requests.ts";

/** What a call needs of Calls. */
export interface CallHost {
  readonly deadlines: Deadlines;
  /** Whether the broker can be asked now. */
  readonly isConnected: boolean;
  /** Nobody waits for this call any more: the broker is told, with the flags of CANCEL. */
  cancel(call: OpenCall, flags: number): void;
  /** No reply is expected any more. */
  forget(call: OpenCall): void;
  /** The service may send so many more parts. */
  grantCredit(call: OpenCall, count: number): void;
  /** See ServiceLink. */
  whyUnread(): string;
  /** Whether an error is not the end of the call, since it will be sent again. */
  takesBack(call: OpenCall, error: Error): boolean;
}

/** See the head of this file. */
export abstract class OpenCall extends TimedEntry implements Waiter {
  /** Of the service. */
  readonly name: string;
  /** Its request id; 0 while it waits to be sent. */
  id = 0;
  /** What is sent, where that may be later or once more. For Calls alone. */
  kept: KeptRequest | undefined;
  /** Infinity: none. */
  readonly timeoutMs: number;
  protected readonly host: CallHost;
  #isOver = false;
  #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;

  constructor(host: CallHost, name: string, timeoutMs: number) {
    super();
    this.host = host;
    this.name = name;
    this.timeoutMs = timeoutMs;
  }

  /** True once nothing of it is expected any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** From now on aborting the signal gives the call up. */
  obey(signal: AbortSignal): void {
    const onAbort = () => this.giveUp(0, signal.reason);
    this.#signal = signal;
    this.#onAbort = onAbort;
    signal.addEventListener("abort", onAbort);
  }

  /** A reply came. @param reply handed over */
  abstract take(reply: Message, flags: number): void;

  /** What becomes of the caller. */
  protected abstract fail(error: Error): void;

  /** Waiter */
  resolve(): never {
    const message = `Cannot take answer: request ${this.id} is a call, and got an ACK`;
    throw new ProtocolError("PROTOCOL_REQUEST_ID", message);
  }

  /** Waiter: the broker says why there is no reply, or the bus has ended. */
  reject(error: Error): void {
    if (!this.#isOver && this.host.takesBack(this, error)) return;
    if (this.finish()) this.fail(error);
  }

  /** TimedEntry */
  onDue(): void {
    const refusal = this.kept?.refusal;
    // It waited for somebody who serves it, in vain.
    if (this.id === 0 && refusal !== undefined) return this.giveUp(0, refusal);
    const message = this.#whyLate();
    this.giveUp(FLAG_TIMED_OUT, new TimeoutError("TIMEOUT_CALL", message, this.timeoutMs));
  }

  /** Says so where the service was never asked: then the work was not done. */
  #whyLate(): string {
    const { name, timeoutMs } = this;
    const { isConnected } = this.host;
    if (this.id !== 0 || this.kept?.wasSent === true) {
      const late = `The service "${name}" did not answer within ${timeoutMs} ms`;
      if (isConnected) return `${late}${this.host.whyUnread()}`;
      return `${late}: the connection was lost, and there is no other yet`;
    }
    const unasked = `The service "${name}" was not asked within ${timeoutMs} ms`;
    return `${unasked}: ${isConnected ? "the broker did not answer" : "the bus is not connected"}`;
  }

  /** A large reply came, and this process had no fd left for it. */
  loseReply(): void {
    const message = `Cannot take reply of "${this.name}": this process may hold no more fds`;
    this.giveUp(0, fdShortage(message, 1));
  }

  /** Ends it from this side. @param flags of CANCEL */
  giveUp(flags: number, error: Error): void {
    if (!this.finish()) return;
    this.host.cancel(this, flags);
    this.fail(error);
  }

  /** @returns false where it was over before */
  protected finish(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.host.deadlines.remove(this);
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener("abort", this.#onAbort);
    this.host.forget(this);
    return true;
  }
}
