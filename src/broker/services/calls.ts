/**
 * Calls: from the caller's REQUEST to a free member of the service, and every end that a call can come
 * to. The way back is replies.ts's.
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
import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import {
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_ORIGIN_WORD,
  flagsOf,
  opcodeOf,
  paddedBytes,
} from "../../protocol/frame.ts";
import { FLAG_CALLER_GONE, FLAG_STREAM, OPCODE } from "../../protocol/opcodes.ts";
import { decodeCreditToBroker } from "../../protocol/service-messages.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import type { Deferred } from "../long-work/deferred.ts";
import { excessOf, excessWords } from "../quotas/excess.ts";
import { RESOURCE } from "../quotas/quota.ts";
import { bodyBytesOf, isTooLarge } from "../reading/message-limit.ts";
import { bodyEnd, bodyStart, unknownOpcode } from "../requests/requests.ts";
import type { BusState } from "../routing/bus-state.ts";
import { NOT_PLAIN } from "../routing/router.ts";
import { ACCEPTED } from "../sending/queue-outcomes.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";
import type { Answers, Failure } from "./answers.ts";
import type { CallDelivery } from "./call-delivery.ts";
import { NO_SERVICE, requestFailure, SERVICE_GONE } from "./call-failures.ts";
import { badCall, CALL_WORD, callAt, isPlainCalls, notOpen } from "./call-frames.ts";
import { type ConnectionServices, type OpenService, PendingCall } from "./connection-services.ts";
import type { HeldWords } from "./held-words.ts";
import { CALLS_PER_LOOK, MEMBERS_TRIED_MAX } from "./limits.ts";
import type { MemberChoice } from "./member-choice.ts";
import { type CallCounters, countFailed, isPending, PendingCalls } from "./pending-calls.ts";
import { Replies } from "./replies.ts";
import type { Service } from "./service-table.ts";

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

/** All calls of a broker. */
export class Calls implements Area {
  readonly opcodes = [OPCODE.REQUEST, OPCODE.REPLY, OPCODE.CANCEL, OPCODE.CREDIT];
  readonly #parts: CallsParts;
  readonly #pending: PendingCalls;
  readonly #replies: Replies;

  constructor(parts: CallsParts) {
    this.#parts = parts;
    this.#pending = new PendingCalls(parts.answers, parts.held);
    this.#replies = new Replies({ ...parts, calls: this.#pending });
  }

  /** What calls came to, since the start. */
  get counters(): Readonly<CallCounters> {
    return this.#pending.counters;
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
    if (services === undefined) return NOT_PLAIN;
    if (!isPlainCalls(services, buffer.words, packetBytes)) return NOT_PLAIN;
    let untilLook = CALLS_PER_LOOK;
    for (let at = 0; at < packetBytes; ) {
      const word = at >>> 2;
      const bytes = paddedBytes(buffer.words[word] as number);
      if (opcodeOf(buffer.words[word + FRAME_KIND_WORD] as number) === OPCODE.REQUEST) {
        this.#request(connection, services, buffer, at, bytes, undefined);
      } else this.#replies.take(connection, services, buffer, at, bytes, undefined);
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
        return () => this.#replies.take(connection, services, buffer, offset, bytes, bundle);
      case OPCODE.CANCEL:
        return () => this.#pending.cancel(services?.calls.get(id), flags);
      case OPCODE.CREDIT: {
        const { count } = decodeCreditToBroker(frame.bytes, bodyStart(frame), bodyEnd(frame));
        return () => this.#pending.credit(services?.calls.get(id), count);
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
      this.#pending.fail(pending, SERVICE_GONE);
      if (++ended % ENTRIES_PER_STEP === 0) yield;
    }
    for (const pending of services.calls.values()) {
      this.#pending.cancel(pending, FLAG_CALLER_GONE);
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
      const failure = { code: "LIMIT_PENDING_CALLS", why, figures } as const;
      return this.#pending.refuse(caller, call, service, failure);
    }
    const failure = this.#place(caller, call, service, buffer, offset, bytes, bundle);
    if (failure === undefined) return;
    caller.quota.release(RESOURCE.pendingCalls, 1);
    this.#pending.refuse(caller, call, service, failure);
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
        service,
        buffer,
        offset,
        bytes,
        bundle,
      );
      if (outcome === ACCEPTED) {
        const isStream = (flagsOf(words[word + FRAME_KIND_WORD] as number) & FLAG_STREAM) !== 0;
        const pending = new PendingCall(service, caller, call, member, request, isStream);
        this.#pending.add(pending, services);
        if (bundle !== undefined) {
          bundle.onRefused = (refusal) =>
            this.#parts.deferred.add(() => this.#lose(pending, refusal));
        }
        return undefined;
      }
      failure = requestFailure(this.#parts.budget, responder, outcome);
      member = choice.after(service, member);
    }
    return failure;
  }

  /** Ends a call, and tells its caller why. */
  fail(pending: PendingCall, failure: Failure): void {
    this.#pending.fail(pending, failure);
  }

  /** A large request waited, and then it could not be passed on. */
  #lose(pending: PendingCall, refusal: number): void {
    if (!isPending(pending)) return;
    const { responder } = pending;
    this.#pending.fail(pending, requestFailure(this.#parts.budget, responder, refusal));
  }

  #deny(caller: Connection, call: number, { service, call: decision }: OpenService): void {
    const { rule } = decision;
    const topic = service.topic.name;
    countFailed(caller, service);
    this.#parts.answers.refuseByPolicy(caller, call, "call", topic, rule);
  }
}
