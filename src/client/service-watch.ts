/**
 * Who serves a service: the state of it and each change, without a hole in between. A reader that
 * is slow sees the latest state and not each one; the generations tell how much it missed.
 *
 * The broker is asked once for each service, however many watch it here.
 */

import { ArgumentError, ClosedError, type RejectedError, TimeoutError } from "../errors.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import {
  decodeWatchAck,
  type ServiceBody,
  unwatchBody,
  watchBody,
} from "../protocol/service-messages.ts";
import { checkTopicName } from "../protocol/topics.ts";
import { checkTimeout } from "./calls.ts";
import { TimedEntry } from "./deadlines.ts";
import { ItemQueue } from "./item-queue.ts";
import { SERVICE_TIMEOUT_MS_DEFAULT } from "./limits.ts";
import type { Sender } from "./message.ts";
import type { ServiceLink } from "./service-link.ts";

/** Who serves a service. */
export interface ServiceState {
  readonly service: string;
  /** Grows with each change, also over the times in which nobody serves it. */
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
 * An open watch. The first next() gives the state as it is, each further one a newer state.
 * @example
 * for await (const { count } of await bus.watch("files.open")) console.log(count > 0);
 */
export class ServiceWatch implements AsyncIterableIterator<ServiceState>, AsyncDisposable {
  readonly service: string;
  readonly #host: WatchHost;
  readonly #queue = new ItemQueue<ServiceState>();
  #current: ServiceState;
  /** Of the state that next() gave last. */
  #seen = -1;
  #signal: AbortSignal | undefined;

  /** Made by Bus.watch(). */
  constructor(state: ServiceState, host: WatchHost) {
    this.service = state.service;
    this.#current = state;
    this.#host = host;
  }

  /** The latest state that is known. */
  get current(): ServiceState {
    return this.#current;
  }

  /** The latest state, as soon as it is newer than the one before; done at the end of the bus. */
  next(): Promise<IteratorResult<ServiceState>> {
    if (this.#queue.isEnded || this.#current.generation <= this.#seen) return this.#queue.wait();
    this.#seen = this.#current.generation;
    return Promise.resolve({ done: false, value: this.#current });
  }

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
    if (!this.#queue.isWaited) return;
    this.#seen = state.generation;
    this.#queue.push(state);
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
  id: number;
  /** Resolves when it has; rejects where it refused. */
  readonly opened: Promise<ServiceState>;
}

/** All watches of a bus. */
export class Watches implements WatchHost {
  readonly #link: ServiceLink;
  readonly #services = new Map<string, WatchedService>();
  readonly #byId = new Map<number, WatchedService>();

  constructor(link: ServiceLink) {
    this.#link = link;
  }

  /** See Bus.watch(). */
  async watch(name: string, { signal }: WatchOptions = {}): Promise<ServiceWatch> {
    const flaw = checkTopicName(name);
    if (flaw !== undefined) {
      throw new ArgumentError("ARGUMENT_TOPIC", `Cannot watch: ${flaw}`, "service");
    }
    signal?.throwIfAborted();
    const service = this.#services.get(name) ?? this.#open(name);
    await service.opened;
    // All others may have left meanwhile, and this service with them.
    if (service.state === undefined) return await this.watch(name, { ...(signal && { signal }) });
    const watch = new ServiceWatch(service.state, this);
    service.readers.add(watch);
    watch.obey(signal);
    return watch;
  }

  /** See Bus.waitFor(). */
  async waitFor(name: string, options: WaitOptions = {}): Promise<ServiceState> {
    const timeoutMs = checkTimeout(options.timeoutMs, SERVICE_TIMEOUT_MS_DEFAULT);
    const { signal } = options;
    signal?.throwIfAborted();
    const { promise: stopped, reject: stop } = Promise.withResolvers<never>();
    stopped.catch(() => {});
    const timeout = new WaitTimeout(name, timeoutMs, stop);
    const onAbort = () => stop(signal?.reason);
    signal?.addEventListener("abort", onAbort);
    this.#link.deadlines.add(timeout, timeoutMs);
    const watching = this.watch(name);
    try {
      const watch = await Promise.race([watching, stopped]);
      for (;;) {
        const { done, value } = await Promise.race([watch.next(), stopped]);
        if (done === true) throw this.#closedEarly(name);
        if (value.count > 0) return value;
      }
    } finally {
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
    service.state = this.#stateOf(service.name, body);
    for (const watch of service.readers) watch.update(service.state);
  }

  /** The policy took the right to know away. */
  revoke(name: string, error: RejectedError): void {
    const service = this.#services.get(name);
    if (service === undefined) return;
    this.#forget(service);
    for (const watch of service.readers) watch.end(error);
  }

  /** The bus has ended. */
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
    this.#forget(service);
    service.state = undefined;
    const body = unwatchBody({ service: service.id });
    // Where it is refused nothing is told any more either.
    this.#link.request(OPCODE.UNWATCH, body).catch(() => {});
  }

  #open(name: string): WatchedService {
    const { promise, resolve, reject } = Promise.withResolvers<ServiceState>();
    const readers = new Set<ServiceWatch>();
    const service: WatchedService = { name, readers, state: undefined, id: 0, opened: promise };
    this.#services.set(name, service);
    // The waiter runs before what follows the ACK, which may be a change already.
    const waiter = {
      resolve: (bytes: Uint8Array) => {
        const ack = decodeWatchAck(bytes, 0, bytes.byteLength);
        service.id = ack.service;
        service.state = this.#stateOf(name, ack);
        this.#byId.set(ack.service, service);
        resolve(service.state);
      },
      reject: (error: Error) => {
        this.#forget(service);
        reject(error);
      },
    };
    try {
      this.#link.send(OPCODE.WATCH, watchBody({ service: name }), waiter);
    } catch (error) {
      waiter.reject(error as Error);
    }
    return service;
  }

  /** The program closed the bus while it waited. */
  #closedEarly(name: string): Error {
    this.#link.assertOpen();
    return new ClosedError("CLOSED_BY_USER", `The watch of "${name}" was closed`);
  }

  #forget(service: WatchedService): void {
    if (this.#services.get(service.name) === service) this.#services.delete(service.name);
    if (this.#byId.get(service.id) === service) this.#byId.delete(service.id);
  }

  #stateOf(service: string, { generation, owners, count }: ServiceBody): ServiceState {
    const senders = owners.map((owner) => this.#link.senderOf(owner));
    return Object.freeze({ service, generation, owners: Object.freeze(senders), count });
  }
}

/** Ends a waiting that saw nobody. */
class WaitTimeout extends TimedEntry {
  readonly #name: string;
  readonly #timeoutMs: number;
  readonly #stop: (error: Error) => void;

  constructor(name: string, timeoutMs: number, stop: (error: Error) => void) {
    super();
    this.#name = name;
    this.#timeoutMs = timeoutMs;
    this.#stop = stop;
  }

  onDue(): void {
    const message = `Nobody began to serve "${this.#name}" within ${this.#timeoutMs} ms`;
    this.#stop(new TimeoutError("TIMEOUT_SERVICE", message, this.#timeoutMs));
  }
}
