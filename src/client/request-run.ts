/**
 * One request in the hands of its handler: started, answered once, or cancelled. Streams part by
 * part while there is credit. Nothing is sent once the caller has gone.
 */

import { ClosedError, TimeoutError } from "../errors.ts";
import { MESSAGE_BODY_BYTES_MAX, STREAM_CREDIT_START } from "../protocol/limits.ts";
import { FLAG_FAILED, FLAG_MORE, FLAG_TIMED_OUT, OPCODE } from "../protocol/opcodes.ts";
import { encodeBody } from "./body-codec.ts";
import { failureOf } from "./failure.ts";
import type { HandlerTurn } from "./handler-turn.ts";
import { KEPT_MESSAGE_BYTES, OUTBOUND_BYTES_HIGH } from "./limits.ts";
import type { Sender } from "./message.ts";
import type { Outbound } from "./outbound.ts";
import { OutgoingBody } from "./outgoing-body.ts";
import type { ReceivedBody } from "./received-body.ts";
import { type Cancellation, PreparedReply, ServiceRequest } from "./service-request.ts";

/**
 * Answers one request: returns the data of the answer, what reply() made, a promise of either, or a
 * generator of parts for callStream(). What it throws reaches the caller as a ServiceError.
 */
export type ServiceHandler<Data = unknown> = (request: ServiceRequest<Data>) => unknown;

/** What a run needs of Server. */
export interface RunHost {
  readonly outbound: Outbound;
  readonly turn: Pick<HandlerTurn, "now">;
  /** The handler has failed, and its caller was told. */
  noteFailure(name: string, error: unknown): void;
  /** The handler is done, or was never started. Called once. */
  onRunEnd(run: RequestRun): void;
}

/** Whose request it is. */
export interface RunOwner {
  readonly topic: string;
  /** The handler has answered, and nobody waited for it any more. */
  noteLateReply(): void;
  /** As RunHost.onRunEnd(), behind it. */
  onRunEnd(run: RequestRun): void;
}

/** A request as it came. */
export interface ArrivedRequest {
  /** The broker's number for it. */
  readonly call: number;
  readonly sender: Sender;
  /** Handed over. */
  readonly body: ReceivedBody;
  /** As on the wire: 0 for ever. */
  readonly timeoutMs: number;
  readonly isStream: boolean;
}

/** A part of a stream that has no part. */
const NO_BYTES = new Uint8Array(0);

/** See the head of this file. */
export class RequestRun implements Cancellation {
  readonly call: number;
  readonly #host: RunHost;
  readonly #owner: RunOwner;
  readonly #request: ServiceRequest;
  /** When it came, by the clock of the turn. */
  readonly cameAt: number;
  #controller: AbortController | undefined;
  /** Why nobody waits any more. */
  #reason: Error | undefined;
  #isEnded = false;
  #parts: AsyncIterator<unknown> | undefined;
  #credit = STREAM_CREDIT_START;
  #onCredit: (() => void) | undefined;

  constructor(host: RunHost, owner: RunOwner, arrived: ArrivedRequest) {
    const { call, sender, body, timeoutMs, isStream } = arrived;
    this.call = call;
    this.cameAt = host.turn.now();
    this.#host = host;
    this.#owner = owner;
    const timing = { timeoutMs: timeoutMs === 0 ? Number.POSITIVE_INFINITY : timeoutMs, isStream };
    this.#request = new ServiceRequest(owner.topic, sender, body, timing, this);
  }

  /** Whose it is. */
  get sender(): Sender {
    return this.#request.sender;
  }

  /** Bytes that it holds while it waits: its body, and what is around it. */
  get byteLength(): number {
    return KEPT_MESSAGE_BYTES + this.#request.byteLength;
  }

  /** Files that it holds. */
  get fdCount(): number {
    return this.#request.fds.length;
  }

  /** Of the service. */
  get name(): string {
    return this.#owner.topic;
  }

  /** Cancellation */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  /** Calls the handler. Never throws. */
  start(handler: ServiceHandler): void {
    let result: unknown;
    try {
      result = handler(this.#request);
    } catch (error) {
      return this.#fail(error);
    }
    if (!isPromise(result)) return this.#answer(result);
    result.then(
      (value) => this.#answer(value),
      (error) => this.#fail(error),
    );
  }

  /** Nobody waits any more. @param flags of CANCEL */
  cancel(flags: number): void {
    const { name } = this;
    if ((flags & FLAG_TIMED_OUT) === 0) {
      const message = `The caller of "${name}" does not wait any more`;
      return this.abort(new ClosedError("CLOSED_BY_CALLER", message));
    }
    const elapsedMs = Math.round(this.#host.turn.now() - this.cameAt);
    const message = `The caller of "${name}" did not wait any longer than ${elapsedMs} ms`;
    this.abort(new TimeoutError("TIMEOUT_CALL", message, elapsedMs));
  }

  /** The same, for any reason. */
  abort(reason: Error): void {
    if (this.#reason !== undefined || this.#isEnded) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#onCredit?.();
    this.#stopParts();
  }

  /** It was cancelled before its turn came. */
  discard(): void {
    this.#end();
  }

  /** The broker's answer to a request that no handler gets. */
  refuse(error: Error): void {
    this.#fail(error);
  }

  /** The caller takes so many more parts. */
  addCredit(count: number): void {
    this.#credit += count;
    this.#onCredit?.();
  }

  #answer(result: unknown): void {
    if (isGenerator(result, Symbol.asyncIterator))
      void this.#stream(result as AsyncIterator<unknown>);
    else if (isGenerator(result, Symbol.iterator))
      void this.#stream(each(result as Iterable<unknown>));
    else this.#finish(result, false);
  }

  async #stream(parts: AsyncIterator<unknown>): Promise<void> {
    this.#parts = parts;
    try {
      if (!this.#request.isStream) throw new StreamOnlyError(this.name);
      for (;;) {
        await this.#readyForPart();
        if (this.#reason !== undefined) break;
        const { done = false, value } = await parts.next();
        if (done) return this.#finish(value, true);
        if (this.#reason !== undefined) break;
        this.#credit -= 1;
        this.#send(value, FLAG_MORE);
      }
    } catch (error) {
      this.#stopParts();
      return this.#fail(error);
    }
    this.#end();
  }

  /** Waits for credit, and until the socket has taken most of what was sent. */
  async #readyForPart(): Promise<void> {
    while (this.#credit === 0 && this.#reason === undefined) {
      await new Promise<void>((resolve) => {
        this.#onCredit = resolve;
      });
    }
    this.#onCredit = undefined;
    const { outbound } = this.#host;
    if (outbound.waitingBytes > OUTBOUND_BYTES_HIGH) await outbound.drained();
  }

  /** The generator's `finally` runs, as soon as what it awaits is settled. */
  #stopParts(): void {
    const parts = this.#parts;
    this.#parts = undefined;
    // What it throws now has nobody to go to: the caller was told, or has gone.
    parts?.return?.().catch(() => {});
  }

  /** Sends the last reply. @param ofStream the value may be absent */
  #finish(value: unknown, ofStream: boolean): void {
    try {
      if (this.#reason !== undefined) this.#dropLate(value, ofStream);
      else if (ofStream && value === undefined) this.#host.outbound.reply(this.call, 0, NO_BYTES);
      else this.#send(value, 0);
    } catch (error) {
      return this.#fail(error);
    }
    this.#end();
  }

  /** A stream is stopped where it stands, and its end is no answer. */
  #dropLate(value: unknown, ofStream: boolean): void {
    if (!ofStream) this.#owner.noteLateReply();
    if (value instanceof PreparedReply) value.close();
  }

  #fail(error: unknown): void {
    if (this.#reason === undefined) {
      this.#tell(error);
      this.#host.noteFailure(this.name, error);
    }
    this.#end();
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#request.fds.close();
    this.#host.onRunEnd(this);
    this.#owner.onRunEnd(this);
  }

  #send(value: unknown, flags: number): void {
    if (value instanceof PreparedReply) {
      try {
        this.#write(value, flags);
      } finally {
        value.close();
      }
      return;
    }
    const action = { verb: "answer", name: this.name };
    using body = OutgoingBody.of(value, undefined, MESSAGE_BODY_BYTES_MAX, action);
    this.#write(body, flags);
  }

  #write(body: OutgoingBody | PreparedReply, flags: number): void {
    const { outbound } = this.#host;
    const { bytes, fds, memoryBytes } = body;
    const all = body.flags | flags;
    if (fds.length === 0) return outbound.reply(this.call, all, bytes);
    const onRefused = (error: Error) => this.#onRefused(error);
    const message = { opcode: OPCODE.REPLY, flags: all, body: bytes, fds, memoryBytes, onRefused };
    outbound.messageWithFds(this.call, message);
  }

  /** The kernel did not take the files of a reply that had waited: the caller must not wait on. */
  #onRefused(error: Error): void {
    if (this.#reason !== undefined) return;
    this.#tell(error);
    this.#host.noteFailure(this.name, error);
    this.abort(error);
  }

  #tell(error: unknown): void {
    const { encoding, bytes } = encodeBody(failureOf(error), "msgpack");
    this.#host.outbound.failure(this.call, encoding | FLAG_FAILED, bytes);
  }
}

/** What the caller of such a handler is told. */
class StreamOnlyError extends Error {
  readonly code = "STREAM_ONLY";

  constructor(name: string) {
    super(`The service "${name}" answers in parts: call it with callStream()`);
  }
}

/** Anything that `await` would wait for. */
function isPromise(result: unknown): result is PromiseLike<unknown> {
  if (typeof result !== "object" || result === null) return false;
  return "then" in result && typeof result.then === "function";
}

/** What a generator function gives, and no array, Map or Set. */
function isGenerator(result: unknown, kind: typeof Symbol.asyncIterator | typeof Symbol.iterator) {
  if (typeof result !== "object" || result === null) return false;
  return kind in result && "next" in result && typeof result.next === "function";
}

/** The parts of a generator that is not async. */
async function* each(parts: Iterable<unknown>): AsyncGenerator<unknown, unknown> {
  return yield* parts;
}
