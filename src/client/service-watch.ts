/**
 * Who serves a service: the state of it and each change, without a hole in between. A reader that
 * is slow sees the latest state and not each one; the generations tell how much it missed.
 *
 * The broker is asked once for each service, however many watch it here.
 */

import { ClosedError, LimitError, RejectedError, TimeoutError } from "../errors.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import {
  decodeWatchAck,
  type ServiceBody,
  unwatchBody,
  watchBody,
} from "../protocol/service-messages.ts";
import { checkTimeout } from "./call-options.ts";
import { TimedEntry } from "./deadlines.ts";
import { ItemQueue } from "./item-queue.ts";
import { SERVICE_TIMEOUT_MS_DEFAULT } from "./limits.ts";
import type { Repeat } from "./link.ts";
import type { Sender } from "./message.ts";
import type { ServiceLink } from "./service-link.ts";
import { checkTopicArgument } from "./topic-argument.ts";

/** Who serves a service. */
export interface ServiceState {
  readonly service: string;
  /** Grows with each connection of this bus to a broker, from 1 on. */
  readonly epoch: number;
  /**
   * Grows with each change, also over the times in which nobody serves it. Those of different epochs
   * do not compare: a new broker starts anew.
   */
  readonly generation: number;
  /** Those that serve it, the first 256 of them. */
  readonly owners: readonly Sender[];
  /** How many there are; 0: nobody serves it. */
  readonly count: number;
}

/** Choices for watch(). */
export interface WatchOptions {
  /** Aborting closes the watch. */
  readonly signal?: AbortSignal;
}

/** Choices for waitFor(). */
export interface WaitOptions {
  /** Milliseconds; default 30,000. Infinity: for ever. */
  readonly timeoutMs?: number;
  /** Aborting ends the waiting with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What a watch needs of Watches. */
export interface WatchHost {
  leave(watch: ServiceWatch): void;
}

/**
 * An open watch. The first next() gives the state as it is, each further one a newer state. While
 * the connection is lost nothing is told; the state on the next one is given in any case.
 * @example
 * for await (const { count } of await bus.watch("files.open")) console.log(count > 0);
 */
export class ServiceWatch implements AsyncIterableIterator<ServiceState>, AsyncDisposable {
  /** Its name, as it was asked for. */
  readonly service: string;
  readonly #host: WatchHost;
  readonly #queue = new ItemQueue<ServiceState>();
  #current: ServiceState;
  /** Whether next() has not given it yet. Generations do not tell: a new broker counts from 1. */
  #isFresh = true;
  #signal: AbortSignal | undefined;

  /** Made by Bus.watch(). */
  constructor(state: ServiceState, host: WatchHost) {
    this.service = state.service;
    this.#current = state;
    this.#host = host;
  }

  /** The latest state that is known; without a connection that of the last one. */
  get current(): ServiceState {
    return this.#current;
  }

  /** The latest state, as soon as it is another than the one before; done at the end of the bus. */
  next(): Promise<IteratorResult<ServiceState>> {
    if (this.#queue.isEnded || !this.#isFresh) return this.#queue.wait();
    this.#isFresh = false;
    return Promise.resolve({ done: false, value: this.#current });
  }

  /** Leaving a `for await` loop closes the watch. */
  async return(): Promise<IteratorResult<ServiceState>> {
    this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends it. Does nothing the second time. */
  close(): void {
    this.end(undefined);
    this.#host.leave(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** For the bus: from now on aborting the signal closes it. */
  obey(signal: AbortSignal | undefined): void {
    this.#signal = signal;
    if (signal?.aborted) this.close();
    else signal?.addEventListener("abort", this.#onAbort);
  }

  /** For the bus: who serves it has changed. */
  update(state: ServiceState): void {
    this.#current = state;
    this.#isFresh = !this.#queue.isWaited;
    if (!this.#isFresh) this.#queue.push(state);
  }

  /** For the bus: no change is told any more. */
  end(error: Error | undefined): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#queue.end(error);
  }

  readonly #onAbort = (): void => this.close();
}

/** One service that the broker tells of, and who watches it here. */
interface WatchedService {
  readonly name: string;
  readonly readers: Set<ServiceWatch>;
  /** undefined until the broker has answered. */
  state: ServiceState | undefined;
  /** 0 where this connection does not have it, or not yet. */
  id: number;
  /** The first answer, while it is waited for. */
  opening?: Promise<void>;
}

/** All watches of a bus. */
export class Watches implements WatchHost {
  readonly #link: ServiceLink;
  readonly #services = new Map<string, WatchedService>();
  readonly #byId = new Map<number, WatchedService>();
  #epoch = 1;

  constructor(link: ServiceLink) {
    this.#link = link;
  }

  /** See Bus.watch(). */
  async watch(name: string, { signal }: WatchOptions = {}): Promise<ServiceWatch> {
    checkTopicArgument(name, "Cannot watch", "service");
    signal?.throwIfAborted();
    const service = this.#services.get(name) ?? this.#open(name);
    service.opening ??= this.#ask(service, "until-answered");
    try {
      await service.opening;
    } catch (error) {
      this.#forget(service);
      throw error;
    }
    // All others may have left meanwhile, and this service with them.
    if (service.state === undefined) return await this.watch(name, { ...(signal && { signal }) });
    const watch = new ServiceWatch(service.state, this);
    service.readers.add(watch);
    watch.obey(signal);
    return watch;
  }

  /** See Bus.waitFor(). */
  waitFor(name: string, options: WaitOptions = {}): Promise<ServiceState> {
    const served = this.#waitFor(name, options);
    this.#link.awaitNews(served);
    return served;
  }

  async #waitFor(name: string, options: WaitOptions): Promise<ServiceState> {
    const timeoutMs = checkTimeout(options.timeoutMs, SERVICE_TIMEOUT_MS_DEFAULT);
    const { signal } = options;
    signal?.throwIfAborted();
    const { promise: stopped, reject: stop } = Promise.withResolvers<never>();
    stopped.catch(() => {});
    const timeout = new WaitTimeout(name, timeoutMs, this.#link.whyUnread, stop);
    const onAbort = () => stop(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    this.#link.deadlines.add(timeout, timeoutMs);
    let isOver = false;
    const watching = this.#watchPatiently(name, () => isOver);
    try {
      const watch = await Promise.race([watching, stopped]);
      for (;;) {
        const { done, value } = await Promise.race([watch.next(), stopped]);
        if (done === true) throw this.#closedEarly(name);
        // What a broker said that is gone tells nothing of the next one.
        if (value.count > 0 && this.#services.get(name)?.id !== 0) return value;
      }
    } finally {
      isOver = true;
      this.#link.deadlines.remove(timeout);
      signal?.removeEventListener("abort", onAbort);
      void watching.then(
        (watch) => watch.close(),
        () => {},
      );
    }
  }

  /** A SERVICE came. One that was on its way when the last reader left is of no use any more. */
  onService(id: number, body: ServiceBody): void {
    const service = this.#byId.get(id);
    if (service === undefined) return;
    this.#setState(service, this.#stateOf(service.name, body));
  }

  /** The policy took the right to know away. */
  revoke(name: string, error: RejectedError): void {
    const service = this.#services.get(name);
    if (service === undefined) return;
    this.#forget(service);
    for (const watch of service.readers) watch.end(error);
  }

  /** Restorable */
  onLost(): void {
    this.#epoch += 1;
    for (const service of this.#byId.values()) service.id = 0;
    this.#byId.clear();
  }

  /** Restorable */
  async restore(): Promise<void> {
    const lost = [...this.#services.values()].filter(({ id, state }) => id === 0 && state);
    await Promise.all(lost.map((service) => this.#reopen(service)));
  }

  /** The bus has ended, or is about to. */
  end(reason: Error | undefined): void {
    for (const { readers } of this.#services.values()) {
      for (const watch of readers) watch.end(reason);
    }
    this.#services.clear();
    this.#byId.clear();
  }

  /** WatchHost */
  leave(watch: ServiceWatch): void {
    const service = this.#services.get(watch.service);
    if (service === undefined || !service.readers.delete(watch)) return;
    if (service.readers.size > 0) return;
    // It is asked for again: #reopen() sees that nobody is left, unless somebody comes meanwhile.
    if (service.id === 0 && this.#link.canAsk()) return;
    this.#takeBack(service);
  }

  /** As watch(), but waits for a connection as long as it is wanted. */
  async #watchPatiently(name: string, isOver: () => boolean): Promise<ServiceWatch> {
    for (;;) {
      try {
        return await this.watch(name);
      } catch (error) {
        const isGap = error instanceof ClosedError && error.code === "CLOSED_DISCONNECTED";
        if (!isGap || isOver()) throw error;
        this.#link.assertKeeps();
      }
    }
  }

  #open(name: string): WatchedService {
    const service: WatchedService = { name, readers: new Set(), state: undefined, id: 0 };
    this.#services.set(name, service);
    return service;
  }

  /** What follows the ACK may be a change already. */
  #ask(service: WatchedService, repeat: Repeat): Promise<void> {
    const take = (bytes: Uint8Array) => {
      const ack = decodeWatchAck(bytes, 0, bytes.byteLength);
      service.id = ack.service;
      this.#byId.set(ack.service, service);
      this.#setState(service, this.#stateOf(service.name, ack));
    };
    return this.#link.ask(OPCODE.WATCH, watchBody({ service: service.name }), take, repeat);
  }

  async #reopen(service: WatchedService): Promise<void> {
    try {
      await this.#ask(service, "once");
      // All may have left meanwhile.
      if (service.readers.size === 0) this.#takeBack(service);
    } catch (error) {
      if (!(error instanceof RejectedError || error instanceof LimitError)) throw error;
      this.#forget(service);
      for (const watch of service.readers) watch.end(error);
      this.#link.noteStatus({ type: "revoked", action: "call", topic: service.name, error });
    }
  }

  #takeBack(service: WatchedService): void {
    const { id } = service;
    service.state = undefined;
    this.#forget(service);
    if (id === 0) return;
    const body = unwatchBody({ service: id });
    // Where it is refused nothing is told any more either.
    this.#link.ask(OPCODE.UNWATCH, body, () => {}, "once").catch(() => {});
  }

  #setState(service: WatchedService, state: ServiceState): void {
    service.state = state;
    for (const watch of service.readers) watch.update(state);
  }

  /** The program closed the bus while it waited. */
  #closedEarly(name: string): Error {
    this.#link.assertKeeps();
    return new ClosedError("CLOSED_BY_USER", `The watch of "${name}" was closed`);
  }

  #forget(service: WatchedService): void {
    if (this.#services.get(service.name) === service) this.#services.delete(service.name);
    if (this.#byId.get(service.id) === service) this.#byId.delete(service.id);
  }

  #stateOf(service: string, { generation, owners, count }: ServiceBody): ServiceState {
    const senders = owners.map((owner) => this.#link.senderOf(owner));
    const epoch = this.#epoch;
    return Object.freeze({ service, epoch, generation, owners: Object.freeze(senders), count });
  }
}

/** Ends a waiting that saw nobody. */
class WaitTimeout extends TimedEntry {
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #whyUnread: () => string;
  readonly #stop: (error: Error) => void;

  constructor(
    name: string,
    timeoutMs: number,
    whyUnread: () => string,
    stop: (error: Error) => void,
  ) {
    super();
    this.#whyUnread = whyUnread;
    this.#name = name;
    this.#timeoutMs = timeoutMs;
    this.#stop = stop;
  }

  onDue(): void {
    const time = `Nobody began to serve "${this.#name}" within ${this.#timeoutMs} ms`;
    const message = `${time}${this.#whyUnread()}`;
    this.#stop(new TimeoutError("TIMEOUT_SERVICE", message, this.#timeoutMs));
  }
}
