/**
 * Calling services: opens a service at its first call, keeps the order of calls to it, and brings
 * replies to those who wait. What waits when a connection is lost goes out on the next one. The
 * mirror of server.ts.
 */

import { assert } from "../assert.ts";
import { LimitError, ProtocolError, RejectedError } from "../errors.ts";
import { BODY_PREFIX_BYTES } from "../protocol/limits.ts";
import { FLAG_STREAM, OPCODE } from "../protocol/opcodes.ts";
import {
  creditToBrokerBody,
  decodeOpenServiceAck,
  openServiceBody,
} from "../protocol/service-messages.ts";
import { type CallOptions, checkTimeout, type StreamOptions } from "./call-options.ts";
import type { Deadlines } from "./deadlines.ts";
import { type KeptRequest, KeptRequests, type RequestBody } from "./kept-requests.ts";
import { CALL_TIMEOUT_MS_DEFAULT, PREFIXED_BODY_BYTES_MAX } from "./limits.ts";
import type { Message } from "./message.ts";
import { type CallHost, OpenCall } from "./open-call.ts";
import { type OpenedService, OpenServices } from "./open-services.ts";
import { OutgoingBody } from "./outgoing-body.ts";
import { closeBody, messageOf, type ReceivedBody } from "./received-body.ts";
import { ReplyStream, StreamCall } from "./reply-stream.ts";
import type { ServiceLink } from "./service-link.ts";
import { checkTopicArgument } from "./topic-argument.ts";
import { UnaryCall } from "./unary-call.ts";

/** The answer to a call: who gave it, and what. With `using`, its files are closed in the end. */
export type Reply<Data = unknown> = Message<Data>;

/** Waits until somebody serves a service, for ever. Rejects where that may not be known. */
export type ServiceWait = (name: string, signal: AbortSignal) => Promise<unknown>;

/** The calling half of a bus. */
export class Calls implements CallHost {
  readonly deadlines: Deadlines;
  readonly #link: ServiceLink;
  readonly #waitFor: ServiceWait;
  readonly #services = new OpenServices();
  readonly #kept = new KeptRequests();
  /** Calls that are not over. */
  #openCount = 0;
  #onIdle: (() => void)[] = [];

  constructor(link: ServiceLink, waitFor: ServiceWait) {
    this.#link = link;
    this.#waitFor = waitFor;
    this.deadlines = link.deadlines;
  }

  /** See Bus.call(). */
  call(name: string, data: unknown, options: CallOptions | undefined): Promise<Reply> {
    // What an executor throws rejects its promise.
    return new Promise((resolve, reject) => {
      const timeoutMs = checkTimeout(options?.timeoutMs, CALL_TIMEOUT_MS_DEFAULT);
      const call = new UnaryCall(this, name, timeoutMs, resolve, reject);
      this.#start(call, 0, data, options);
      this.deadlines.add(call, timeoutMs);
    });
  }

  /** See Bus.callStream(). */
  callStream(name: string, data: unknown, options: StreamOptions | undefined): ReplyStream {
    const timeoutMs = checkTimeout(options?.timeoutMs, CALL_TIMEOUT_MS_DEFAULT);
    const call = new StreamCall(this, name, timeoutMs);
    this.#start(call, FLAG_STREAM, data, options);
    return new ReplyStream(call);
  }

  /** A REPLY came. @param body handed over */
  onReply(id: number, flags: number, origin: number, body: ReceivedBody): void {
    const call = this.#link.pending.find(id);
    if (!(call instanceof OpenCall)) {
      closeBody(body);
      // One that was given up may have been answered at the same moment.
      if (call === undefined && this.#link.pending.wasGiven(id)) return;
      const message = `Cannot take reply: no call has the id ${id}`;
      throw new ProtocolError("PROTOCOL_REQUEST_ID", message);
    }
    if (body.isBodyLost) {
      closeBody(body);
      return call.loseReply();
    }
    if (body.fdsLost > 0) {
      this.#link.noteStatus({ type: "fds-lost", topic: call.name, count: body.fdsLost });
    }
    call.take(messageOf(call.name, this.#link.senderOf(origin), body), flags);
  }

  /** CallHost */
  get isConnected(): boolean {
    return this.#link.canAsk();
  }

  /** CallHost */
  cancel(call: OpenCall, flags: number): void {
    // Of one that waits nobody has heard.
    if (call.id === 0) return;
    this.#link.outbound.control({ opcode: OPCODE.CANCEL, id: call.id, flags });
  }

  /** CallHost */
  whyUnread(): string {
    return this.#link.whyUnread();
  }

  /** CallHost */
  forget(call: OpenCall): void {
    this.#link.pending.remove(call.id);
    if (call.kept !== undefined) this.#letGo(call);
    this.#openCount -= 1;
    if (this.#openCount > 0 || this.#onIdle.length === 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /** CallHost */
  takesBack(call: OpenCall, error: Error): boolean {
    if (call.id === 0 || call.kept === undefined) return false;
    if (!this.#link.canAsk()) return this.#takesBackLost(call, call.kept);
    return this.#takesBackUnserved(call, call.kept, error);
  }

  /** CallHost */
  grantCredit(call: OpenCall, count: number): void {
    const body = creditToBrokerBody({ count });
    this.#link.outbound.control({ opcode: OPCODE.CREDIT, id: call.id, body });
  }

  /** Service ids mean nothing any more. Calls that may be sent on the next connection wait for it. */
  onLost(): void {
    for (const service of this.#services.values()) {
      endAbsence(service);
      for (const { kept } of service.held) {
        if (kept === undefined) continue;
        kept.waitsForService = true;
        kept.refusal = undefined;
      }
    }
    this.#services.reset();
  }

  /** There is a connection again: calls that waited go to it. */
  restore(): void {
    this.#askMore();
  }

  /** Resolves when no call is under way. */
  retire(): Promise<void> {
    if (this.#openCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** The bus has ended: so do calls that wait. All others were pending requests. */
  end(error: Error): void {
    for (const service of this.#services.clear()) {
      endAbsence(service);
      for (const call of service.held) call.reject(error);
    }
  }

  #start(call: OpenCall, flags: number, data: unknown, options: CallOptions | undefined): void {
    this.#link.assertKeeps();
    const signal = options?.signal;
    signal?.throwIfAborted();
    const action = { verb: "call", name: call.name };
    using body = OutgoingBody.of(data, options, PREFIXED_BODY_BYTES_MAX, action);
    const service = this.#services.use(call.name) ?? this.#open(call.name);
    const { bytes, fds, memoryBytes } = body;
    const request: RequestBody = { flags: body.flags | flags, bytes, fds, memoryBytes };
    const isIdempotent = options?.idempotent === true && (flags & FLAG_STREAM) === 0;
    if (service.id === 0 || isIdempotent) this.#keep(service, call, request, isIdempotent);
    if (service.id === 0) service.held.add(call);
    else this.#write(service.id, call, request);
    this.#openCount += 1;
    if (signal !== undefined) call.obey(signal);
  }

  #write(serviceId: number, call: OpenCall, request: RequestBody): void {
    call.id = this.#link.pending.add(call);
    try {
      this.#writeNumbered(serviceId, call, request);
    } catch (error) {
      this.#link.pending.remove(call.id);
      if (call.kept !== undefined) this.#letGo(call);
      throw error;
    }
  }

  #writeNumbered(
    serviceId: number,
    call: OpenCall,
    { flags, bytes, fds, memoryBytes }: RequestBody,
  ): void {
    const timeoutMs = this.#wireTimeout(call);
    if (fds.length === 0) {
      this.#link.outbound.request(serviceId, call.id, flags, timeoutMs, bytes);
      return;
    }
    const body = new Uint8Array(BODY_PREFIX_BYTES + bytes.byteLength);
    const prefix = new DataView(body.buffer);
    prefix.setUint32(0, call.id, true);
    prefix.setUint32(4, timeoutMs, true);
    body.set(bytes, BODY_PREFIX_BYTES);
    // Where the kernel refuses the fds the broker has never heard of the call.
    const onRefused = (error: Error) => call.reject(error);
    const message = { opcode: OPCODE.REQUEST, flags, body, fds, memoryBytes, onRefused };
    this.#link.outbound.messageWithFds(serviceId, message);
  }

  /** What the service is told. A stream may take as long as it likes, as long as its parts come. */
  #wireTimeout(call: OpenCall): number {
    if (call instanceof StreamCall || call.timeoutMs === Number.POSITIVE_INFINITY) return 0;
    // A call that had to wait has less time left than it began with.
    if (call.kept === undefined || call.queue === undefined) return call.timeoutMs;
    return Math.max(Math.ceil(call.dueAt - this.deadlines.now()), 1);
  }

  #keep(service: OpenedService, call: OpenCall, request: RequestBody, isIdempotent: boolean): void {
    try {
      call.kept = this.#kept.keep(service.name, request, isIdempotent);
    } catch (error) {
      this.#forgetUnused(service);
      throw error;
    }
    call.kept.waitsForService = !this.#link.canAsk();
  }

  #open(name: string): OpenedService {
    checkTopicArgument(name, "Cannot call");
    const service = this.#services.add(name);
    // Others that wait already are before it.
    if (this.#services.nextWaiting === service) this.#askMore();
    return service;
  }

  /** Asks for services that wait for that, as far as there is room, or can be made. */
  #askMore(): void {
    if (!this.#link.canAsk()) return;
    for (;;) {
      const service = this.#services.nextWaiting;
      if (service === undefined) return;
      if (!this.#services.hasRoom && !this.#closeIdle()) return;
      this.#ask(service);
    }
  }

  /** Its calls went out before, and the broker takes everything in order. */
  #closeIdle(): boolean {
    const id = this.#services.takeIdle();
    if (id === undefined) return false;
    this.#link.outbound.control({ opcode: OPCODE.CLOSE_SERVICE, id });
    return true;
  }

  #ask(service: OpenedService): void {
    const { name } = service;
    this.#services.noteAsked(service);
    this.#link.post(OPCODE.OPEN_SERVICE, openServiceBody({ service: name }), {
      resolve: (body) => {
        service.id = decodeOpenServiceAck(body, 0, body.byteLength).service;
        this.#releaseAll(service);
        this.#askMore();
      },
      reject: (error) => {
        // What never left goes to the next connection, or ends with the bus.
        if (!this.#link.canAsk()) return;
        const hasHope = error instanceof LimitError && this.#services.noteRefused(service);
        if (!hasHope) this.#refuse(service, error);
        this.#askMore();
      },
    });
  }

  /** It is asked for again at the next call: the policy may have changed. */
  #refuse(service: OpenedService, error: Error): void {
    this.#services.forget(service);
    for (const call of service.held) call.reject(error);
  }

  #releaseAll(service: OpenedService): void {
    for (const call of service.held) {
      service.held.delete(call);
      this.#release(service.id, call);
    }
  }

  #release(serviceId: number, call: OpenCall): void {
    const { kept } = call;
    assert(kept !== undefined, "a call that waits is kept");
    const { flags, bytes, memoryBytes } = kept;
    const fds = kept.fds.map((fd) => fd.number);
    try {
      this.#write(serviceId, call, { flags, bytes, fds, memoryBytes });
    } catch (error) {
      return call.reject(error as Error);
    }
    if (!kept.isIdempotent && !kept.waitsForService) this.#letGo(call);
  }

  /** The connection was lost behind it: it is sent again on the next one, if it may be. */
  #takesBackLost(call: OpenCall, kept: KeptRequest): boolean {
    if (!kept.isIdempotent || !this.#link.mayWait()) return false;
    call.id = 0;
    kept.wasSent = true;
    const service = this.#services.find(call.name) ?? this.#services.add(call.name);
    service.held.add(call);
    return true;
  }

  /** Nobody serves it yet: it is sent again when somebody does, if it was there first. */
  #takesBackUnserved(call: OpenCall, kept: KeptRequest, error: Error): boolean {
    if (!kept.waitsForService || !(error instanceof RejectedError)) return false;
    if (error.code !== "REJECTED_NO_SERVICE") return false;
    call.id = 0;
    kept.refusal = error;
    const service = this.#services.find(call.name) ?? this.#services.add(call.name);
    service.held.add(call);
    if (service.id !== 0) this.#awaitService(service);
    else this.#askMore();
    return true;
  }

  /** Calls for which somebody must come back are sent again when somebody does. */
  #awaitService(service: OpenedService): void {
    if (service.absence !== undefined) return;
    const absence = new AbortController();
    service.absence = absence;
    this.#waitFor(service.name, absence.signal).then(
      () => {
        if (service.absence !== absence) return;
        service.absence = undefined;
        this.#releaseAll(service);
        this.#askMore();
      },
      (error) => {
        if (service.absence !== absence) return;
        service.absence = undefined;
        for (const call of service.held) call.reject(call.kept?.refusal ?? error);
      },
    );
  }

  /** Nothing of it is kept any more. */
  #letGo(call: OpenCall): void {
    if (call.kept !== undefined) this.#kept.drop(call.kept);
    call.kept = undefined;
    const service = this.#services.find(call.name);
    if (service?.held.delete(call) === true) this.#forgetUnused(service);
  }

  /** What no call waits for any more need not be waited for, nor asked for, and may make room. */
  #forgetUnused(service: OpenedService): void {
    if (service.held.size > 0) return;
    endAbsence(service);
    if (this.#services.isWaiting(service)) this.#services.forget(service);
    else if (service.id !== 0) this.#askMore();
  }
}

function endAbsence(service: OpenedService): void {
  const { absence } = service;
  service.absence = undefined;
  absence?.abort();
}
