/**
 * Calling services: opens a service at its first call, keeps the order of calls to it, and brings
 * replies to those who wait. The mirror of server.ts.
 */

import { ArgumentError, LimitError, ProtocolError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import { FLAG_FAILED, FLAG_MORE, FLAG_STREAM, OPCODE } from "../protocol/opcodes.ts";
import {
  creditToBrokerBody,
  decodeOpenServiceAck,
  openServiceBody,
} from "../protocol/service-messages.ts";
import { checkTopicName } from "../protocol/topics.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import type { Deadlines } from "./deadlines.ts";
import { serviceErrorOf } from "./failure.ts";
import {
  CALL_TIMEOUT_MS_DEFAULT,
  OUTBOUND_BYTES_MAX,
  PREFIXED_BODY_BYTES_MAX,
  TIMEOUT_MS_MAX,
} from "./limits.ts";
import type { Message } from "./message.ts";
import { type CallHost, OpenCall } from "./open-call.ts";
import { OutgoingBody, type SendOptions } from "./outgoing-body.ts";
import { closeBody, messageOf, type ReceivedBody } from "./received-body.ts";
import { ReplyStream, StreamCall } from "./reply-stream.ts";
import type { ServiceLink } from "./service-link.ts";

/** Choices for one call. */
export interface CallOptions extends SendOptions {
  /**
   * Milliseconds until the call is given up and the service told; default 30,000. Infinity: never.
   * In callStream(): until the next part, while the program waits for one.
   */
  readonly timeoutMs?: number;
  /** Aborting gives the call up, and the service is told. */
  readonly signal?: AbortSignal;
}

/** The answer to a call: who gave it, and what. With `using`, its files are closed in the end. */
export type Reply<Data = unknown> = Message<Data>;

/** A service that was opened, or is being. */
interface OpenedService {
  readonly name: string;
  /** 0 until the broker has answered. */
  id: number;
  /** False while there is no connection: restore() asks. */
  isAsked: boolean;
  /** Calls that wait for that. */
  held: HeldRequest[];
}

/** What is written once the service is open. */
interface HeldRequest {
  readonly call: OpenCall;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly fds: readonly OwnedFd[];
  readonly memoryBytes: number;
}

/** A request as it is written. */
interface RequestBody {
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  readonly memoryBytes: number;
}

/** A call with one reply. */
class UnaryCall extends OpenCall {
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (error: Error) => void;

  constructor(
    host: CallHost,
    name: string,
    timeoutMs: number,
    resolve: (reply: Reply) => void,
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

/** The calling half of a bus. */
export class Calls implements CallHost {
  readonly deadlines: Deadlines;
  readonly #link: ServiceLink;
  readonly #services = new Map<string, OpenedService>();
  #heldBytes = 0;
  /** Calls that are not over. */
  #openCount = 0;
  #onIdle: (() => void)[] = [];

  constructor(link: ServiceLink) {
    this.#link = link;
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
  callStream(name: string, data: unknown, options: CallOptions | undefined): ReplyStream {
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
  cancel(call: OpenCall, flags: number): void {
    const service = this.#services.get(call.name);
    const index = service?.held.findIndex((held) => held.call === call) ?? -1;
    if (index < 0) this.#link.outbound.control({ opcode: OPCODE.CANCEL, id: call.id, flags });
    else for (const held of service?.held.splice(index, 1) ?? []) this.#forgetHeld(held);
  }

  /** CallHost */
  forget(call: OpenCall): void {
    this.#link.pending.remove(call.id);
    this.#openCount -= 1;
    if (this.#openCount > 0 || this.#onIdle.length === 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /** CallHost */
  grantCredit(call: OpenCall, count: number): void {
    const body = creditToBrokerBody({ count });
    this.#link.outbound.control({ opcode: OPCODE.CREDIT, id: call.id, body });
  }

  /** Service ids mean nothing any more. Calls that were sent have ended; those not sent still wait. */
  onLost(): void {
    for (const service of this.#services.values()) {
      if (service.id !== 0) this.#services.delete(service.name);
    }
  }

  /** There is a connection again: calls that were made meanwhile go to it. */
  restore(): void {
    for (const service of this.#services.values()) if (!service.isAsked) this.#ask(service);
  }

  /** Resolves when no call is under way. */
  retire(): Promise<void> {
    if (this.#openCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** The bus has ended: so do calls that wait for services to open. All others were pending requests. */
  end(error: Error): void {
    for (const service of this.#services.values()) {
      for (const held of service.held.splice(0)) {
        this.#forgetHeld(held);
        held.call.reject(error);
      }
    }
    this.#services.clear();
  }

  #start(call: OpenCall, flags: number, data: unknown, options: CallOptions | undefined): void {
    this.#link.assertKeeps();
    const signal = options?.signal;
    signal?.throwIfAborted();
    const action = { verb: "call", name: call.name };
    using body = OutgoingBody.of(data, options, PREFIXED_BODY_BYTES_MAX, action);
    const service = this.#services.get(call.name) ?? this.#open(call.name);
    const { bytes, fds, memoryBytes } = body;
    const request: RequestBody = { flags: body.flags | flags, bytes, fds, memoryBytes };
    if (service.id === 0) this.#hold(service, call, request);
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
      throw error;
    }
  }

  #writeNumbered(
    serviceId: number,
    call: OpenCall,
    { flags, bytes, fds, memoryBytes }: RequestBody,
  ): void {
    const timeoutMs = wireTimeout(call);
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

  #hold(service: OpenedService, call: OpenCall, request: RequestBody): void {
    if (this.#heldBytes > OUTBOUND_BYTES_MAX) {
      throw new LimitError(
        "LIMIT_OUTBOUND",
        `Cannot call "${service.name}": ${this.#heldBytes} bytes wait for services to open`,
        { limit: OUTBOUND_BYTES_MAX, actual: this.#heldBytes },
      );
    }
    const { flags, memoryBytes } = request;
    const fds = duplicateAll(request.fds);
    const held = { call, flags, bytes: request.bytes.slice(), fds, memoryBytes };
    service.held.push(held);
    this.#heldBytes += heldBytesOf(held);
  }

  #open(name: string): OpenedService {
    const flaw = checkTopicName(name);
    if (flaw !== undefined) {
      throw new ArgumentError("ARGUMENT_TOPIC", `Cannot call: ${flaw}`, "topic");
    }
    const service: OpenedService = { name, id: 0, isAsked: false, held: [] };
    this.#services.set(name, service);
    if (this.#link.canAsk()) this.#ask(service);
    return service;
  }

  #ask(service: OpenedService): void {
    const { name } = service;
    service.isAsked = true;
    this.#link.post(OPCODE.OPEN_SERVICE, openServiceBody({ service: name }), {
      resolve: (body) => {
        service.id = decodeOpenServiceAck(body, 0, body.byteLength).service;
        for (const held of service.held.splice(0)) this.#release(service.id, held);
      },
      reject: (error) => {
        service.isAsked = false;
        // What never left goes to the next connection, or ends with the bus.
        if (!this.#link.canAsk()) return;
        // It is asked for again at the next call: the policy may have changed.
        this.#services.delete(name);
        for (const held of service.held.splice(0)) {
          this.#forgetHeld(held);
          held.call.reject(error);
        }
      },
    });
  }

  #release(serviceId: number, held: HeldRequest): void {
    const { call, flags, bytes, fds, memoryBytes } = held;
    const numbers = fds.map((fd) => fd.number);
    try {
      this.#write(serviceId, call, { flags, bytes, fds: numbers, memoryBytes });
    } catch (error) {
      call.reject(error as Error);
    } finally {
      this.#forgetHeld(held);
    }
  }

  #forgetHeld(held: HeldRequest): void {
    this.#heldBytes -= heldBytesOf(held);
    for (const fd of held.fds) fd.close();
  }
}

/**
 * Checks a time-out.
 * @returns milliseconds, or Infinity
 * @throws {ArgumentError} ARGUMENT_OPTION
 */
export function checkTimeout(timeoutMs: number | undefined, fallback: number): number {
  if (timeoutMs === undefined) return fallback;
  if (timeoutMs === Number.POSITIVE_INFINITY) return timeoutMs;
  if (timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX) return Math.ceil(timeoutMs);
  const message = `Cannot wait ${timeoutMs} ms: timeoutMs must be above 0 and at most ${TIMEOUT_MS_MAX}, or Infinity`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "timeoutMs");
}

/** What the service is told. A stream may take as long as it likes, as long as its parts come. */
function wireTimeout(call: OpenCall): number {
  if (call instanceof StreamCall || call.timeoutMs === Number.POSITIVE_INFINITY) return 0;
  return call.timeoutMs;
}

function heldBytesOf({ bytes, memoryBytes }: HeldRequest): number {
  return FRAME_HEADER_BYTES + BODY_PREFIX_BYTES + bytes.byteLength + memoryBytes;
}
