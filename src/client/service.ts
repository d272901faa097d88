/**
 * A service that this program serves: whose turn it is, which requests run, and which wait because
 * as many run as may.
 */

import { LimitError } from "../errors.ts";
import type { OwnershipBody, Serve, ServeAck } from "../protocol/service-messages.ts";
import type { IfOwned } from "../protocol/words.ts";
import type { Channel } from "./channel.ts";
import { callWithChannel, type OnChannel } from "./channel-callback.ts";
import type { HandlerTurn } from "./handler-turn.ts";
import type { RequestRun, ServiceHandler } from "./request-run.ts";
import { type MissedEvents, StatusFeed } from "./status.ts";
import { type Excess, WaitingRequests } from "./waiting-requests.ts";

/** Choices for one service. */
export interface ServeOptions {
  /** Share the service with others that do; each call goes to one of them. Default false. */
  readonly shared?: boolean;
  /** Where somebody else serves it: wait behind it, fail, or take its place. Default "fail". */
  readonly ifOwned?: IfOwned;
  /**
   * Takes private channels. A channel is the callback's to close, and is closed where it fails. Errors
   * of this library that it does not catch end that channel alone, whose other side may well have
   * caused them: `Bus.status()` tells. What else it throws is an uncaught error of the program.
   */
  readonly onChannel?: OnChannel;
  /**
   * Requests that the handler works on at a time; others wait, and callers take turns by their uid.
   * Default: no limit but the broker's.
   */
  readonly concurrency?: number;
  /** Aborting closes the service. */
  readonly signal?: AbortSignal;
}

/** What happened to a service. */
export type ServiceEvent =
  | MissedEvents
  /** From now on requests come here: it had waited in line, or is served again by the next broker. */
  | { readonly type: "owner-gained"; readonly generation: number }
  /**
   * The connection is lost, and all requests with it: their handlers were aborted. It will be offered
   * again on the next one. Why it was lost is told by "disconnected" of Bus.status().
   */
  | { readonly type: "lost" }
  /** It is served again; not the owner: it waits in line. Generations start anew with a new broker. */
  | { readonly type: "restored"; readonly generation: number; readonly isOwner: boolean }
  /** It ends: somebody took it over, also while there was no connection; the policy took the right away, or the bus has ended. */
  | { readonly type: "owner-lost"; readonly generation: number; readonly error: Error }
  | { readonly type: "closed" };

/** What a service needs of Server. */
export interface ServiceHost {
  readonly turn: HandlerTurn;
  /** Resolves when the broker has confirmed that no request comes any more. */
  unserve(service: Service): Promise<void>;
  /** The callback for a private channel has failed with an operating error. */
  noteChannelFailure(channel: Channel, error: Error): void;
}

/**
 * An open service.
 * @example
 * await using service = await bus.serve("clock.now", () => Date.now());
 */
export class Service implements AsyncDisposable {
  /** Its name. */
  readonly topic: string;
  /** For the bus: as the broker is asked for it. */
  readonly offer: Serve;
  readonly #host: ServiceHost;
  readonly #handler: ServiceHandler;
  readonly #concurrency: number;
  readonly #onChannel: OnChannel | undefined;
  readonly #status = new StatusFeed<ServiceEvent>();
  readonly #closed = Promise.withResolvers<Error | undefined>();
  readonly #running = new Set<RequestRun>();
  /** Those whose turn has not come. */
  readonly #waiting = new WaitingRequests<RequestRun>();
  #onIdle: (() => void)[] = [];
  #id = 0;
  #generation = 0;
  #isOwner = false;
  #isEnded = false;
  #isStarting = false;
  #lateReplies = 0;
  #closing: Promise<void> | undefined;
  #signal: AbortSignal | undefined;

  /** Made by Bus.serve(). */
  constructor(topic: string, handler: ServiceHandler, host: ServiceHost, options: ServeOptions) {
    this.topic = topic;
    this.#handler = handler;
    this.#host = host;
    this.#concurrency = options.concurrency ?? Number.POSITIVE_INFINITY;
    this.#onChannel = options.onChannel;
    const { shared, ifOwned, onChannel } = options;
    const channels = onChannel === undefined ? undefined : true;
    this.offer = { service: topic, shared, ifOwned, channels };
  }

  /** Whether requests come here; false while others come first, without a connection, and after the end. */
  get isOwner(): boolean {
    return this.#isOwner;
  }

  /**
   * Of the service when this last changed; grows whenever who serves it changes. Only those of one
   * connection compare.
   */
  get generation(): number {
    return this.#generation;
  }

  /** Requests that the handler works on. */
  get running(): number {
    return this.#running.size;
  }

  /** Requests that wait for `concurrency`, or for their turn behind handlers that compute. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Answers of the handler that were dropped here, since nobody waited for them any more: the caller
   * had given up, or was gone. The broker counts those that it gets all the same.
   */
  get lateReplies(): number {
    return this.#lateReplies;
  }

  /** What happens to it from now on. Each call has its own queue. */
  status(): AsyncIterableIterator<ServiceEvent> {
    return this.#status.open();
  }

  /** Resolves at its end: with the reason, or undefined after close(). */
  closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /**
   * Serves no more. Requests that came before are still answered; resolves when they are, or when
   * the bus has ended.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** For the bus: the broker's number of it. */
  get id(): number {
    return this.#id;
  }

  /** For the bus: the broker has granted it. */
  open({ service, generation, isOwner }: ServeAck): void {
    this.#id = service;
    this.#generation = generation;
    this.#isOwner = isOwner && !this.#isEnded;
  }

  /** For the bus: the connection is lost, and the next one will be asked for it. */
  suspend(): void {
    this.#isOwner = false;
    this.#status.emit({ type: "lost" });
  }

  /** For the bus: the next one has granted it. */
  resume(): void {
    const generation = this.#generation;
    const isOwner = this.#isOwner;
    this.#status.emit({ type: "restored", generation, isOwner });
    if (isOwner) this.#status.emit({ type: "owner-gained", generation });
  }

  /** For the bus: from now on aborting the signal closes it. */
  obey(signal: AbortSignal | undefined): void {
    this.#signal = signal;
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort);
  }

  /** For the bus: a request came. */
  accept(run: RequestRun): void {
    const isFree = this.#running.size < this.#concurrency;
    if (isFree && this.#waiting.size === 0 && this.#host.turn.hasTime()) {
      return this.#start(run, run.cameAt);
    }
    const excess = this.#waiting.push(run);
    if (excess !== undefined) run.refuse(tooMuchWaits(this.topic, excess));
    else if (isFree) this.#host.turn.whenNext(this.#startWaiting);
  }

  /** For the bus: nobody waits for this request any more. @param flags of CANCEL */
  cancel(run: RequestRun, flags: number): void {
    if (this.#waiting.delete(run)) run.discard();
    else run.cancel(flags);
  }

  /** For the bus: an answer was dropped. */
  noteLateReply(): void {
    this.#lateReplies += 1;
  }

  /** For the bus: a request is done. */
  onRunEnd(run: RequestRun): void {
    this.#running.delete(run);
    this.#startWaiting();
    if (this.#running.size + this.#waiting.size > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /** For the bus: a private channel to it was opened. */
  acceptChannel(channel: Channel): void {
    const onChannel = this.#onChannel;
    if (onChannel === undefined) return void channel.close();
    const noteFailure = (error: Error) => this.#host.noteChannelFailure(channel, error);
    void callWithChannel(onChannel, channel, noteFailure);
  }

  /** For the bus: its turn has come. */
  gain({ generation }: OwnershipBody): void {
    this.#generation = generation;
    this.#isOwner = true;
    this.#status.emit({ type: "owner-gained", generation });
  }

  /** For the bus: no request comes any more. @param error undefined after close() */
  end(error: Error | undefined, generation = this.#generation): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#isOwner = false;
    this.#generation = generation;
    this.#signal?.removeEventListener("abort", this.#onAbort);
    if (error !== undefined) this.#status.emit({ type: "owner-lost", generation, error });
    this.#status.emit({ type: "closed" });
    this.#status.end();
    this.#closed.resolve(error);
  }

  /** For the bus: its connection has ended, and with it all that runs. */
  abort(error: Error): void {
    // The end of one would start the next.
    this.#isStarting = true;
    for (let run = this.#waiting.shift(); run !== undefined; run = this.#waiting.shift()) {
      run.discard();
    }
    this.#isStarting = false;
    for (const run of [...this.#running]) run.abort(error);
    // Handlers may go on for as long as they like, but nothing waits for them.
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  readonly #onAbort = (): void => void this.close();

  /** A request may be done as soon as it is started, and must not start the next from within. */
  readonly #startWaiting = (): void => {
    if (this.#isStarting) return;
    this.#isStarting = true;
    const { turn } = this.#host;
    while (this.#running.size < this.#concurrency && turn.hasTime()) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#start(next, turn.now());
    }
    this.#isStarting = false;
    const isFree = this.#running.size < this.#concurrency;
    if (isFree && this.#waiting.size > 0) turn.whenNext(this.#startWaiting);
  };

  #start(run: RequestRun, nowMs: number): void {
    this.#running.add(run);
    run.start(this.#handler);
    this.#host.turn.noteEnd(nowMs);
  }

  async #close(): Promise<void> {
    if (!this.#isEnded) await this.#host.unserve(this);
    this.end(undefined);
    if (this.#running.size + this.#waiting.size === 0) return;
    await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }
}

/** The caller gets it as a ServiceError with this code. */
function tooMuchWaits(topic: string, excess: Excess): LimitError {
  const message = `Cannot take request to "${topic}": too much of its user waits for its turn`;
  return new LimitError("LIMIT_PENDING_CALLS", message, excess);
}
