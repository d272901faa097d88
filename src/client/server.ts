/**
 * Serving: offers services to the broker, and gives requests to their handlers. The mirror of
 * calls.ts.
 */

import { ArgumentError, ClosedError, LimitError, ProtocolError, RejectedError } from "../errors.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import {
  decodeServeAck,
  type OwnershipBody,
  serveBody,
  unserveBody,
} from "../protocol/service-messages.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { IF_OWNED_CHOICES } from "../protocol/words.ts";
import type { Channel } from "./channel.ts";
import { fdShortage } from "./fd-shortage.ts";
import { HandlerTurn } from "./handler-turn.ts";
import type { Repeat } from "./link.ts";
import type { Outbound } from "./outbound.ts";
import {
  type ArrivedRequest,
  RequestRun,
  type RunHost,
  type ServiceHandler,
} from "./request-run.ts";
import type { Restorable } from "./restorable.ts";
import { type ServeOptions, Service, type ServiceHost } from "./service.ts";
import type { ServiceLink } from "./service-link.ts";
import { checkTopicArgument } from "./topic-argument.ts";

/** A REQUEST, but for what its service id stands for. */
export type RequestFrame = ArrivedRequest & { readonly serviceId: number };

/** A request that is not done, and whose it is. */
interface OpenRequest {
  readonly service: Service;
  readonly run: RequestRun;
}

/** The serving half of a bus. */
export class Server implements ServiceHost, RunHost, Restorable {
  readonly outbound: Outbound;
  /** ServiceHost */
  readonly turn: HandlerTurn;
  readonly #link: ServiceLink;
  readonly #services = new Map<string, Service>();
  readonly #byId = new Map<number, Service>();
  /** By the broker's number of the request. */
  readonly #requests = new Map<number, OpenRequest>();
  /** Those that the lost connection had and the next one does not have yet. */
  readonly #unrestored = new Set<Service>();
  #isRetired = false;

  constructor(link: ServiceLink) {
    this.#link = link;
    this.outbound = link.outbound;
    this.turn = new HandlerTurn(link.clock);
  }

  /** See Bus.serve(). */
  async serve(name: string, handler: ServiceHandler, options: ServeOptions): Promise<Service> {
    checkServe(name, handler, options);
    options.signal?.throwIfAborted();
    if (this.#isRetired) throw drainedError(name);
    if (this.#services.has(name)) throw servedHere(name);
    const service = new Service(name, handler, this, options);
    this.#services.set(name, service);
    try {
      await this.#open(service, "until-answered");
    } catch (error) {
      this.#remove(service);
      throw error;
    }
    if (this.#isRetired) {
      await service.close();
      throw drainedError(name);
    }
    service.obey(options.signal);
    return service;
  }

  /** The service of this name that this bus serves. */
  find(name: string): Service | undefined {
    return this.#services.get(name);
  }

  /**
   * A REQUEST came.
   * @throws {ProtocolError} PROTOCOL_TOPIC_ID where this bus serves nothing under that id
   */
  onRequest(frame: RequestFrame): void {
    const service = this.#byId.get(frame.serviceId);
    if (service === undefined) {
      const message = `Cannot take request: nothing is served under the id ${frame.serviceId}`;
      throw new ProtocolError("PROTOCOL_TOPIC_ID", message);
    }
    const run = new RequestRun(this, service, frame);
    this.#requests.set(frame.call, { service, run });
    const { fdsLost, isBodyLost } = frame.body;
    if (fdsLost > 0) {
      this.#link.noteStatus({ type: "fds-lost", topic: service.topic, count: fdsLost });
    }
    if (isBodyLost) run.refuse(bodyLost(service.topic));
    else service.accept(run);
  }

  /** A CANCEL came. */
  onCancel(call: number, flags: number): void {
    const request = this.#requests.get(call);
    request?.service.cancel(request.run, flags);
  }

  /** A CREDIT came. */
  onCredit(call: number, count: number): void {
    this.#requests.get(call)?.run.addCredit(count);
  }

  /** An OWNERSHIP came. */
  onOwnership(serviceId: number, body: OwnershipBody): void {
    const service = this.#byId.get(serviceId);
    if (service === undefined) return;
    if (body.isOwner) return service.gain(body);
    const message = `Somebody else took over "${service.topic}"`;
    const fields = { status: STATUS.REJECTED_SERVICE_OWNED, topic: service.topic };
    const error = new RejectedError("REJECTED_SERVICE_OWNED", message, fields);
    this.#remove(service);
    service.end(error, body.generation);
  }

  /** The policy took the right to serve away. */
  revoke(name: string, error: Error): void {
    const service = this.#services.get(name);
    if (service === undefined || service.id === 0) return;
    this.#remove(service);
    service.end(error);
  }

  /** Restorable: nobody can be answered any more, and a number of a request means another one soon. */
  onLost(): void {
    const message = "The caller cannot be reached any more: the connection is lost";
    const error = new ClosedError("CLOSED_DISCONNECTED", message);
    const busy = new Set(Array.from(this.#requests.values(), ({ service }) => service));
    for (const service of busy) service.abort(error);
    this.#requests.clear();
    for (const service of this.#byId.values()) {
      service.suspend();
      this.#unrestored.add(service);
    }
    this.#byId.clear();
  }

  /** Restorable */
  async restore(): Promise<void> {
    await Promise.all(Array.from(this.#unrestored, (service) => this.#reopen(service)));
  }

  /** Restorable */
  async retire(): Promise<void> {
    this.#isRetired = true;
    // One that the broker has not granted yet is closed as soon as it has.
    const granted = [...this.#services.values()].filter(({ id }) => id !== 0);
    await Promise.all(granted.map((service) => service.close()));
  }

  /** The bus has ended. @param reason undefined where the program wished it @param error for handlers */
  end(reason: Error | undefined, error: Error): void {
    const services = new Set(this.#services.values());
    for (const { service } of this.#requests.values()) services.add(service);
    this.#services.clear();
    this.#byId.clear();
    for (const service of services) {
      service.end(reason);
      service.abort(error);
    }
  }

  /** ServiceHost */
  async unserve(service: Service): Promise<void> {
    if (!this.#unrestored.delete(service)) await this.#takeBack(service.id);
    this.#remove(service);
  }

  /** ServiceHost */
  noteChannelFailure({ service, peer }: Channel, error: Error): void {
    this.#link.noteStatus({ type: "channel-failed", topic: service, peer, error });
  }

  /** RunHost */
  noteFailure(name: string, error: unknown): void {
    this.#link.noteStatus({ type: "request-failed", topic: name, error });
  }

  /** RunHost */
  onRunEnd(run: RequestRun): void {
    // After a reconnect another request may have the number.
    if (this.#requests.get(run.call)?.run === run) this.#requests.delete(run.call);
  }

  /** What follows the ACK may be a request already. */
  #open(service: Service, repeat: Repeat): Promise<void> {
    const take = (bytes: Uint8Array) => {
      service.open(decodeServeAck(bytes, 0, bytes.byteLength));
      this.#byId.set(service.id, service);
      // Here, since the next frame may say that its turn has come.
      if (this.#unrestored.has(service)) service.resume();
    };
    return this.#link.ask(OPCODE.SERVE, serveBody(service.offer), take, repeat);
  }

  async #reopen(service: Service): Promise<void> {
    try {
      await this.#open(service, "once");
      // It may have been closed meanwhile.
      if (this.#unrestored.delete(service)) return;
      await this.#takeBack(service.id);
      this.#remove(service);
    } catch (error) {
      if (!(error instanceof RejectedError || error instanceof LimitError)) throw error;
      this.#unrestored.delete(service);
      this.#remove(service);
      service.end(error);
      this.#link.noteStatus({ type: "revoked", action: "serve", topic: service.topic, error });
    }
  }

  async #takeBack(serviceId: number): Promise<void> {
    const body = unserveBody({ service: serviceId });
    // Where it is refused somebody took it over just before; where the connection has ended all of it
    // is over.
    await this.#link.ask(OPCODE.UNSERVE, body, () => {}, "once").catch(() => {});
  }

  #remove(service: Service): void {
    if (this.#services.get(service.topic) === service) this.#services.delete(service.topic);
    if (this.#byId.get(service.id) === service) this.#byId.delete(service.id);
  }
}

function checkServe(name: string, handler: unknown, options: ServeOptions): void {
  const { concurrency = 1, shared, ifOwned = "fail" } = options;
  checkTopicArgument(name, "Cannot serve");
  if (typeof handler !== "function") {
    const message = `Cannot serve "${name}": the handler must be a function`;
    throw new ArgumentError("ARGUMENT_OPTION", message, "handler");
  }
  if (!IF_OWNED_CHOICES.includes(ifOwned)) {
    const message = `Cannot serve "${name}": ifOwned must be one of ${IF_OWNED_CHOICES.join(", ")}`;
    throw new ArgumentError("ARGUMENT_OPTION", message, "ifOwned");
  }
  if (!(concurrency >= 1)) {
    const message = `Cannot serve "${name}": concurrency must be 1 or more`;
    throw new ArgumentError("ARGUMENT_OPTION", message, "concurrency");
  }
  if (shared === true && ifOwned === "replace") {
    const message = `Cannot serve "${name}": who shares a service replaces nobody`;
    throw new ArgumentError("ARGUMENT_OPTION", message, "ifOwned");
  }
}

function drainedError(name: string): ClosedError {
  const message = `Cannot serve "${name}": the bus is being drained`;
  return new ClosedError("CLOSED_BY_USER", message);
}

function servedHere(name: string): RejectedError {
  const message = `Cannot serve "${name}": this bus serves it already`;
  const fields = { status: STATUS.REJECTED_SERVICE_OWNED, topic: name };
  return new RejectedError("REJECTED_SERVICE_OWNED", message, fields);
}

/** The body of a request that this process had no fd left for. */
function bodyLost(name: string): LimitError {
  const message = `Cannot take request to "${name}": the service may hold no more fds`;
  return fdShortage(message, 1);
}
