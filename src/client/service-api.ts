/** The methods of a bus that are about services. Bus has them; what they do is in services.ts. */

import type { CallOptions, StreamOptions } from "./call-options.ts";
import type { Reply } from "./calls.ts";
import type { Channel } from "./channel.ts";
import type { OpenChannelOptions } from "./channels.ts";
import type { ReplyStream } from "./reply-stream.ts";
import type { ServiceHandler } from "./request-run.ts";
import type { ServeOptions, Service } from "./service.ts";
import type { ServiceState, ServiceWatch, WaitOptions, WatchOptions } from "./service-watch.ts";
import type { Services } from "./services.ts";

/** See the head of this file. */
export abstract class ServiceApi {
  protected abstract readonly services: Services;

  /**
   * Calls a service and waits for its answer. Calls of one service leave in their order.
   * @param data as for publish()
   * @returns the answer and who gave it; with `using`, its files are closed at the end of the block
   * @throws {ServiceError} what the handler said, by the code of its choice
   * @throws {RejectedError} REJECTED_NO_SERVICE; REJECTED_BY_POLICY, with the rule; REJECTED_REPLY;
   *   REJECTED_FD_KIND for the kind of a file
   * @throws {ClosedError} CLOSED_BY_SERVICE where whoever served it went away before the answer;
   *   CLOSED_BY_PEER, CLOSED_BY_BROKER where the connection did, unless `idempotent` is chosen; others
   *   after the end of the bus
   * @throws {TimeoutError} TIMEOUT_CALL; the service is told to stop
   * @throws {LimitError} LIMIT_PENDING_CALLS, LIMIT_REPLY, and as publish()
   * @throws {ArgumentError} ARGUMENT_TOPIC, ARGUMENT_OPTION, and as publish(); what `signal` was
   *   aborted with
   * @example
   * const answer = await bus.call("files.stat", { path: "notes.txt" }, { timeoutMs: 1000 });
   */
  call<Data = unknown>(topic: string, data?: unknown, options?: CallOptions): Promise<Reply<Data>> {
    return this.services.calls.call(topic, data, options) as Promise<Reply<Data>>;
  }

  /**
   * Calls a service that answers in parts. The parts come as they are read: a service is 64 parts
   * ahead at most. Leaving the loop gives the call up. See call() for what next() rejects with.
   * @throws as publish(), at once
   */
  callStream<Data = unknown>(
    topic: string,
    data?: unknown,
    options?: StreamOptions,
  ): ReplyStream<Data> {
    return this.services.calls.callStream(topic, data, options) as ReplyStream<Data>;
  }

  /**
   * Serves a service: the handler's result is the answer, a generator answers in parts, and what it
   * throws reaches the caller as a ServiceError, by its `code` and message.
   * @returns once the broker has confirmed it
   * @throws {RejectedError} REJECTED_SERVICE_OWNED, REJECTED_BY_POLICY
   * @throws {LimitError} LIMIT_SERVICES
   * @throws {ArgumentError} ARGUMENT_TOPIC, ARGUMENT_OPTION
   * @throws {ClosedError} after the end of the bus, and during drain(); CLOSED_DISCONNECTED where
   *   the connection was not made again within 30 s
   * @throws what `signal` was aborted with
   * @example
   * await using service = await bus.serve("clock.now", () => ({ now: Date.now() }));
   */
  serve<Data = unknown>(
    topic: string,
    handler: ServiceHandler<Data>,
    options: ServeOptions = {},
  ): Promise<Service> {
    return this.services.server.serve(topic, handler as ServiceHandler, options);
  }

  /**
   * Watches who serves a service: as it is now, and each change of it.
   * @throws {ArgumentError} ARGUMENT_TOPIC
   * @throws {RejectedError} REJECTED_BY_POLICY: it takes the right to call
   * @throws {LimitError} LIMIT_SERVICES
   * @throws {ClosedError} as serve()
   * @throws what `signal` was aborted with
   */
  watch(service: string, options?: WatchOptions): Promise<ServiceWatch> {
    return this.services.watches.watch(service, options);
  }

  /**
   * Waits until somebody serves a service; returns at once where somebody does.
   * @throws {TimeoutError} TIMEOUT_SERVICE; and as watch()
   */
  waitFor(service: string, options?: WaitOptions): Promise<ServiceState> {
    return this.services.watches.waitFor(service, options);
  }

  /**
   * Opens a private channel to whoever serves a service. It goes on without this bus.
   * @throws {ArgumentError} ARGUMENT_TOPIC
   * @throws {RejectedError} REJECTED_NO_SERVICE, REJECTED_NO_CHANNEL, REJECTED_BY_POLICY
   * @throws {LimitError} LIMIT_QUEUED_FDS
   * @throws {ClosedError} as serve()
   * @throws what `signal` was aborted with
   */
  openChannel<Data = unknown>(
    service: string,
    options?: OpenChannelOptions,
  ): Promise<Channel<Data>> {
    return this.services.channels.open(service, options) as Promise<Channel<Data>>;
  }
}
