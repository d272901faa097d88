/** A call with one reply. For one in parts see reply-stream.ts. */

import { ProtocolError } from "../errors.ts";
import { FLAG_FAILED, FLAG_MORE } from "../protocol/opcodes.ts";
import { serviceErrorOf } from "./failure.ts";
import type { Message } from "./message.ts";
import { type CallHost, OpenCall } from "./open-call.ts";

/** See the head of this file. */
export class UnaryCall extends OpenCall {
  readonly #resolve: (reply: Message) => void;
  readonly #reject: (error: Error) => void;

  constructor(
    host: CallHost,
    name: string,
    timeoutMs: number,
    resolve: (reply: Message) => void,
    reject: (error: Error) => void,
  ) {
    super(host, name, timeoutMs);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  take(reply: Message, flags: number): void {
    if ((flags & FLAG_MORE) !== 0) {
      reply[Symbol.dispose]();
      const message = `Cannot take a part: call ${this.id} did not ask for a stream`;
      throw new ProtocolError("PROTOCOL_FLAGS", message);
    }
    if (!this.finish()) return reply[Symbol.dispose]();
    if ((flags & FLAG_FAILED) === 0) return this.#resolve(reply);
    const error = serviceErrorOf(reply);
    reply[Symbol.dispose]();
    this.#reject(error);
  }

  protected fail(error: Error): void {
    this.#reject(error);
  }
}
