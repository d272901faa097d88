/**
 * Calls: from the caller's REQUEST to a free member of the service, the replies back, and every end
 * that a call can come to.
 *
 *     caller                    broker                       responder
 *     REQUEST call 7     ──►    PendingCall (7 ⇄ 31)   ──►   REQUEST call 31
 *     REPLY 7            ◄──    gone                   ◄──   REPLY 31
 *     ERROR 7            ◄──    CLOSED_BY_SERVICE …          CANCEL 31  ◄── the caller gave up
 *
 * Invariants: each call ends exactly once, by its last REPLY, by an ERROR, or by the caller's own
 * wish or end; what ends it takes it out of both tables first. A packet of nothing but calls makes
 * no object but the PendingCall of each REQUEST. Rights are looked up, never decided, for a call
 * without fds.
 */

import { assert } from "../../assert.ts";
import { ProtocolError } from "../../errors.ts";
import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import {
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_ORIGIN_WORD,
  flagsOf,
  kindWord,
  opcodeOf,
  paddedBytes,
} from "../../protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import {
  FLAG_CALLER_GONE,
  FLAG_FAILED,
  FLAG_MORE,
  FLAG_STREAM,
  FLAG_TIMED_OUT,
  FLAGS_ENCODING_MASK,
  OPCODE,
} from "../../protocol/opcodes.ts";
import { decodeCreditToBroker } from "../../protocol/service-messages.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { BusState } from "../bus-state.ts";
import type { Connection } from "../connection.ts";
import type { Deferred } from "../deferred.ts";
import { excessOf, excessWords } from "../excess.ts";
import type { FdBudget } from "../fd-budget.ts";
import type { FdBundle } from "../fd-bundle.ts";
import { CALLS_PER_LOOK, ENTRIES_PER_STEP, MEMBERS_TRIED_MAX } from "../limits.ts";
import { bodyBytesOf, isTooLarge } from "../message-limit.ts";
import { ACCEPTED, FDS_NOT_PASSED, PEER_GONE } from "../queue-outcomes.ts";
import { RESOURCE } from "../quota.ts";
import { bodyEnd, bodyStart, unknownOpcode } from "../requests.ts";
import { NOT_PLAIN } from "../router.ts";
import type { Answers, Failure } from "./answers.ts";
import type { CallDelivery } from "./call-delivery.ts";
import {
  NO_SERVICE,
  partFlaw,
  replyFailure,
  requestFailure,
  SERVICE_GONE,
} from "./call-failures.ts";
import { type ConnectionServices, type OpenService, PendingCall } from "./connection-services.ts";
import { type HeldWords, STREAM_CREDIT_MAX } from "./held-words.ts";
import type { MemberChoice } from "./member-choice.ts";
import type { Service } from "./service-table.ts";

/** Word of a REQUEST that holds the call, counted from the first word of the frame. */
const CALL_WORD = FRAME_HEADER_BYTES / 4;

/** A kind word without these bits is one of the two below, for frames without fds. */
const REQUEST_MASK = ~((FLAGS_ENCODING_MASK | FLAG_STREAM) << 8);
const REPLY_MASK = ~((FLAGS_ENCODING_MASK | FLAG_MORE | FLAG_FAILED) << 8);
const PLAIN_REQUEST = kindWord(OPCODE.REQUEST, 0, 0);
const PLAIN_REPLY = kindWord(OPCODE.REPLY, 0, 0);

/** What calls need of the process around them. */
export interface CallHost {
  /** Whether this turn has time for more costly work. */
  hasTime(): boolean;
}

/** What calls are made with. */
export interface CallsParts {
  readonly state: BusState;
  readonly choice: MemberChoice;
  readonly answers: Answers;
  readonly delivery: CallDelivery;
  readonly held: HeldWords;
  readonly deferred: Deferred;
  readonly budget: Pick<FdBudget, "figures">;
  readonly host: CallHost;
}

/**
 * pending: calls without an answer. requests: handed to who serves them. replies: handed to who
 * called, but for parts of others, which are replyParts. lateReplies: dropped, because their call was
 * over.
 */
export type CallCounters = {
  [C in "pending" | "requests" | "replies" | "replyParts" | "lateReplies"]: number;
};

/** All calls of a broker. */
export class Calls implements Area {
  /** Since the start. */
  readonly counters: CallCounters = {
    pending: 0,
    requests: 0,
    replies: 0,
    replyParts: 0,
    lateReplies: 0,
  };
  readonly opcodes = [OPCODE.REQUEST, OPCODE.REPLY, OPCODE.CANCEL, OPCODE.CREDIT];
  readonly #parts: CallsParts;

  constructor(parts: CallsParts) {
    this.#parts = parts;
  }

  /**
   * Carries out a packet that holds nothing but requests and replies without fds.
   * @param buffer holds the packet from offset 0; headers in it are overwritten
   * @returns bytes carried out: less than `packetBytes` where the turn's time is up; NOT_PLAIN where
   *   the packet holds anything else, or anything wrong: then nothing of it took effect
   * @throws {ProtocolError} as the CarryOut of read()
   */
  routePacket(connection: Connection, buffer: PinnedBuffer, packetBytes: number): number {
    const { services } = connection;
    if (services === undefined || !isPlain(services, buffer.words, packetBytes)) return NOT_PLAIN;
    let untilLook = CALLS_PER_LOOK;
    for (let at = 0; at < packetBytes; ) {
      const word = at >>> 2;
      const bytes = paddedBytes(buffer.words[word] as number);
      if (opcodeOf(buffer.words[word + FRAME_KIND_WORD] as number) === OPCODE.REQUEST) {
        this.#request(connection, services, buffer, at, bytes, undefined);
      } else this.#reply(connection, services, buffer, at, bytes, undefined);
      at += bytes;
      untilLook -= 1;
      if (untilLook > 0) continue;
      if (!this.#parts.host.hasTime()) return at;
      untilLook = CALLS_PER_LOOK;
    }
    return packetBytes;
  }

  /** Area */
  read(connection: Connection, frame: ClientFrame): CarryOut {
    const { opcode, flags, id, buffer, offset, bundle } = frame;
    const bytes = paddedBytes(frame.frameBytes);
    const { services } = connection;
    switch (opcode) {
      case OPCODE.REQUEST:
        if (services?.open.has(id) !== true) throw notOpen(offset);
        if (callAt(buffer.words, offset) === 0) throw badCall(offset, "it has the number 0");
        return () => this.#request(connection, services, buffer, offset, bytes, bundle);
      case OPCODE.REPLY:
        if (services?.wasRequested(id) !== true) throw badCall(offset, "there never was this one");
        return () => this.#reply(connection, services, buffer, offset, bytes, bundle);
      case OPCODE.CANCEL:
        return () => this.#cancel(services?.calls.get(id), flags);
      case OPCODE.CREDIT: {
        const { count } = decodeCreditToBroker(frame.bytes, bodyStart(frame), bodyEnd(frame));
        return () => this.#credit(services?.calls.get(id), count);
      }
      default:
        throw unknownOpcode(frame);
    }
  }

  /** Area */
  takesFds({ services }: Connection): boolean {
    if (services === undefined) return false;
    if (services.served.size > 0 || services.requests.size > 0) return true;
    for (const { call } of services.open.values()) if (call.allowed) return true;
    return false;
  }

  /** Area */
  *leave(connection: Connection): Generator<void, void> {
    const { services } = connection;
    if (services === undefined) return;
    let ended = 0;
    for (const pending of services.requests.values()) {
      this.fail(pending, SERVICE_GONE);
      if (++ended % ENTRIES_PER_STEP === 0) yield;
    }
    for (const pending of services.calls.values()) {
      this.#cancel(pending, FLAG_CALLER_GONE);
      if (++ended % ENTRIES_PER_STEP === 0) yield;
    }
    this.#parts.held.drop(connection);
  }

  /** Area: calls under way go on; what may be asked for is the services' to refresh. */
  refresh(): undefined {}

  #request(
    caller: Connection,
    services: ConnectionServices,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): void {
    const open = services.open.get(buffer.words[(offset >>> 2) + FRAME_ID_WORD] as number);
    if (open === undefined) throw notOpen(offset);
    const call = callAt(buffer.words, offset);
    if (services.calls.has(call)) throw badCall(offset, `call ${call} is not answered yet`);
    const { service } = open;
    services.figures.calls += 1;
    service.figures.calls += 1;
    if (!open.call.allowed) return this.#deny(caller, call, open);
    const actual = bodyBytesOf(buffer.words, offset);
    if (isTooLarge(actual, open.messageBytesMax)) {
      const about = { topic: service.topic.name, limit: open.messageBytesMax, actual };
      countFailed(caller, service);
      return this.#parts.delivery.tellTooLarge(caller, { ...about, kind: "request" }, caller, call);
    }
    if (bundle !== undefined && !this.#admits(caller, open, call, buffer, bundle)) return;
    if (!caller.quota.charge(RESOURCE.pendingCalls, 1)) {
      const figures = excessOf(caller.quota, "pendingCalls");
      const why = excessWords(figures);
      return this.#refuse(caller, call, service, { code: "LIMIT_PENDING_CALLS", why, figures });
    }
    const failure = this.#place(caller, call, service, buffer, offset, bytes, bundle);
    if (failure === undefined) return;
    caller.quota.release(RESOURCE.pendingCalls, 1);
    this.#refuse(caller, call, service, failure);
  }

  #admits(
    caller: Connection,
    { service, sendFds }: OpenService,
    call: number,
    buffer: PinnedBuffer,
    bundle: FdBundle,
  ): boolean {
    const use = { topic: service.topic, sendFds };
    const isAdmitted = this.#parts.delivery.admits(caller, use, call, buffer, bundle);
    if (!isAdmitted) countFailed(caller, service);
    return isAdmitted;
  }

  /**
   * Finds a member that takes a request.
   * @returns undefined: the call is pending; or why nobody takes it
   */
  #place(
    caller: Connection,
    call: number,
    service: Service<Connection>,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): Failure | undefined {
    const { choice, delivery } = this.#parts;
    const { topic } = service;
    const { words } = buffer;
    const word = offset >>> 2;
    words[word + FRAME_ORIGIN_WORD] = caller.id;
    let failure: Failure = NO_SERVICE;
    let member = choice.first(service);
    for (let tries = 0; member !== undefined && tries < MEMBERS_TRIED_MAX; tries += 1) {
      const responder = member.client;
      const { services } = responder;
      assert(services !== undefined, "a member has services");
      const request = services.nextRequest();
      words[word + CALL_WORD] = request;
      const outcome = delivery.deliverRequest(
        caller,
        responder,
        topic,
        buffer,
        offset,
        bytes,
        bundle,
      );
      if (outcome === ACCEPTED) {
        const isStream = (flagsOf(words[word + FRAME_KIND_WORD] as number) & FLAG_STREAM) !== 0;
        const pending = new PendingCall(service, caller, call, member, request, isStream);
        this.#add(pending, services);
        if (bundle !== undefined) {
          bundle.onRefused = (refusal) =>
            this.#parts.deferred.add(() => this.#lose(pending, refusal));
        }
        return undefined;
      }
      failure = requestFailure(this.#parts.budget, responder.queue, outcome);
      member = choice.after(service, member);
    }
    return failure;
  }

  #add(pending: PendingCall, responder: ConnectionServices): void {
    pending.caller.services?.calls.set(pending.call, pending);
    responder.requests.set(pending.request, pending);
    pending.service.chargeRequest(pending.member);
    this.counters.pending += 1;
    this.counters.requests += 1;
    responder.figures.requests += 1;
    pending.service.figures.requests += 1;
  }

  #reply(
    responder: Connection,
    services: ConnectionServices,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): void {
    const { words } = buffer;
    const word = offset >>> 2;
    const pending = services.requests.get(words[word + FRAME_ID_WORD] as number);
    if (pending === undefined) {
      services.lateReplies += 1;
      this.counters.lateReplies += 1;
      return;
    }
    const flags = flagsOf(words[word + FRAME_KIND_WORD] as number);
    const isPart = (flags & FLAG_MORE) !== 0;
    const flaw = isPart ? partFlaw(pending, flags) : undefined;
    if (flaw !== undefined) return this.#reject(pending, isPart, flaw);
    const { delivery } = this.#parts;
    const limit = delivery.replyBytesMax(pending.member, pending.service.topic);
    const actual = bodyBytesOf(words, offset);
    if (isTooLarge(actual, limit)) return this.#rejectSize(pending, isPart, limit, actual);
    if (bundle !== undefined && !this.#admitsReply(responder, pending, buffer, bundle)) {
      const why = "the service answered with fds that it may not send";
      return this.#reject(pending, isPart, why);
    }
    if (isPart) pending.credit -= 1;
    else this.#end(pending);
    const { caller, call, service } = pending;
    words[word + FRAME_ID_WORD] = call;
    words[word + FRAME_ORIGIN_WORD] = responder.id;
    const { topic } = service;
    const outcome = delivery.deliverReply(responder, caller, topic, buffer, offset, bytes, bundle);
    if (outcome === ACCEPTED) {
      this.#countReply(services, pending, flags);
      if (bundle !== undefined) {
        bundle.onRefused = () => this.#parts.deferred.add(() => this.#loseReply(pending, isPart));
      }
      return;
    }
    // The caller is gone, and its end will be the end of the call.
    if (outcome === PEER_GONE) return;
    const failure = replyFailure(this.#parts.budget, caller.queue, outcome);
    if (isPart) this.#cancel(pending, 0);
    this.#refuse(caller, call, service, failure);
  }

  #countReply({ figures }: ConnectionServices, { caller, service }: PendingCall, flags: number) {
    const name = (flags & FLAG_MORE) === 0 ? "replies" : "replyParts";
    this.counters[name] += 1;
    figures[name] += 1;
    service.figures[name] += 1;
    if ((flags & FLAG_FAILED) !== 0) countFailed(caller, service);
  }

  #admitsReply(
    responder: Connection,
    { service }: PendingCall,
    buffer: PinnedBuffer,
    bundle: FdBundle,
  ): boolean {
    const { topic } = service;
    const sendFds = this.#parts.state.peek(responder, "send-fds", topic.name);
    return this.#parts.delivery.admits(responder, { topic, sendFds }, 0, buffer, bundle);
  }

  /** The caller gives a call up, or has gone. */
  #cancel(pending: PendingCall | undefined, flags: number): void {
    if (pending === undefined) return;
    this.#end(pending);
    if ((flags & FLAG_TIMED_OUT) !== 0) countFailed(pending.caller, pending.service);
    this.#parts.held.cancel(pending.responder, pending.request, flags);
  }

  #credit(pending: PendingCall | undefined, count: number): void {
    if (pending?.isStream !== true) return;
    pending.credit = Math.min(pending.credit + count, STREAM_CREDIT_MAX);
    this.#parts.held.credit(pending.responder, pending.request, count);
  }

  /** The service may not answer so: the caller is told, and the service, if it means to go on. */
  #reject(pending: PendingCall, goesOn: boolean, why: string): void {
    if (goesOn) this.#cancel(pending, 0);
    else this.#end(pending);
    const { caller, call, service } = pending;
    this.#refuse(caller, call, service, { code: "REJECTED_REPLY", why });
  }

  #rejectSize(pending: PendingCall, goesOn: boolean, limit: number, actual: number): void {
    if (goesOn) this.#cancel(pending, 0);
    else this.#end(pending);
    const { responder, caller, call, service } = pending;
    const what = { topic: service.topic.name, limit, actual, kind: "reply" as const };
    countFailed(caller, service);
    this.#parts.delivery.tellTooLarge(responder, what, caller, call);
  }

  /** Ends a call, and tells its caller why. */
  fail(pending: PendingCall, failure: Failure): void {
    this.#end(pending);
    this.#refuse(pending.caller, pending.call, pending.service, failure);
  }

  /** A large request waited, and then it could not be passed on. */
  #lose(pending: PendingCall, refusal: number): void {
    if (!isPending(pending)) return;
    this.fail(pending, requestFailure(this.#parts.budget, pending.responder.queue, refusal));
  }

  /** The same of a large reply. */
  #loseReply(pending: PendingCall, isPart: boolean): void {
    // Given up meanwhile.
    if (isPart && !isPending(pending)) return;
    if (isPart) this.#cancel(pending, 0);
    const { caller, call, service } = pending;
    this.#refuse(
      caller,
      call,
      service,
      replyFailure(this.#parts.budget, caller.queue, FDS_NOT_PASSED),
    );
  }

  /** Takes a call out of the tables. What is told of it is the caller's business. */
  #end(pending: PendingCall): void {
    const { caller, call, responder, request, service, member } = pending;
    const isKnown = responder.services?.requests.delete(request) === true;
    assert(isKnown, "a call ends once");
    this.counters.pending -= 1;
    caller.services?.calls.delete(call);
    caller.quota.release(RESOURCE.pendingCalls, 1);
    service.releaseRequest(member);
  }

  #deny(caller: Connection, call: number, { service, call: decision }: OpenService): void {
    const { rule } = decision;
    const topic = service.topic.name;
    countFailed(caller, service);
    this.#parts.answers.refuseByPolicy(caller, call, "call", topic, rule);
  }

  #refuse(caller: Connection, call: number, service: Service<Connection>, failure: Failure): void {
    const topic = service.topic.name;
    countFailed(caller, service);
    this.#parts.answers.fail(caller, call, { topic, cannot: `Cannot call "${topic}"` }, failure);
  }
}

function countFailed({ services }: Connection, { figures }: Service<Connection>): void {
  figures.callsFailed += 1;
  if (services !== undefined) services.figures.callsFailed += 1;
}

function isPending(pending: PendingCall): boolean {
  return pending.responder.services?.requests.get(pending.request) === pending;
}

/** Whether a packet is nothing but good requests and replies without fds. */
function isPlain(services: ConnectionServices, words: Uint32Array, packetBytes: number): boolean {
  for (let at = 0; at < packetBytes; ) {
    const word = at >>> 2;
    const frameBytes = words[word] as number;
    const kind = words[word + FRAME_KIND_WORD] as number;
    const id = words[word + FRAME_ID_WORD] as number;
    if (frameBytes < FRAME_HEADER_BYTES || frameBytes > packetBytes - at) return false;
    if ((kind & REQUEST_MASK) === PLAIN_REQUEST) {
      if (frameBytes < FRAME_HEADER_BYTES + BODY_PREFIX_BYTES) return false;
      if (callAt(words, at) === 0 || !services.open.has(id)) return false;
    } else if ((kind & REPLY_MASK) !== PLAIN_REPLY || !services.wasRequested(id)) return false;
    at += paddedBytes(frameBytes);
  }
  return true;
}

function callAt(words: Uint32Array, offset: number): number {
  return words[(offset >>> 2) + CALL_WORD] as number;
}

function notOpen(offset: number): ProtocolError {
  const message = `Cannot use service at byte ${offset}: its id is not open on this connection`;
  return new ProtocolError("PROTOCOL_TOPIC_ID", message, offset);
}

function badCall(offset: number, why: string): ProtocolError {
  const message = `Cannot take call at byte ${offset}: ${why}`;
  return new ProtocolError("PROTOCOL_REQUEST_ID", message, offset);
}
