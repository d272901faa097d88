/**
 * Replies: from the member that answers to whoever called, in one piece or in parts, and what becomes of
 * a call whose answer cannot be passed on.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import {
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_ORIGIN_WORD,
  flagsOf,
} from "../../protocol/frame.ts";
import { FLAG_FAILED, FLAG_MORE } from "../../protocol/opcodes.ts";
import type { Connection } from "../connection.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import type { Deferred } from "../long-work/deferred.ts";
import { bodyBytesOf, isTooLarge } from "../reading/message-limit.ts";
import type { BusState } from "../routing/bus-state.ts";
import { ACCEPTED, FDS_NOT_PASSED, PEER_GONE } from "../sending/queue-outcomes.ts";
import type { CallDelivery } from "./call-delivery.ts";
import { partFlaw, replyFailure } from "./call-failures.ts";
import type { ConnectionServices, PendingCall } from "./connection-services.ts";
import { countFailed, isPending, type PendingCalls } from "./pending-calls.ts";

/** What replies are passed on with. */
export interface RepliesParts {
  readonly state: BusState;
  readonly delivery: CallDelivery;
  readonly deferred: Deferred;
  readonly budget: Pick<FdBudget, "figures">;
  readonly calls: PendingCalls;
}

/** Passes replies on. */
export class Replies {
  readonly #parts: RepliesParts;

  constructor(parts: RepliesParts) {
    this.#parts = parts;
  }

  /**
   * Hands one REPLY to whoever called, or ends the call where that cannot be. One for a call that is
   * over is counted and dropped.
   * @param services of the responder
   * @param bundle borrowed; undefined for a frame without fds
   */
  take(
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
      this.#parts.calls.counters.lateReplies += 1;
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
    else this.#parts.calls.end(pending);
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
    if (isPart) this.#parts.calls.cancel(pending, 0);
    this.#parts.calls.refuse(caller, call, service, failure);
  }

  #countReply({ figures }: ConnectionServices, { caller, service }: PendingCall, flags: number) {
    const name = (flags & FLAG_MORE) === 0 ? "replies" : "replyParts";
    this.#parts.calls.counters[name] += 1;
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

  /** The service may not answer so: the caller is told, and the service, if it means to go on. */
  #reject(pending: PendingCall, goesOn: boolean, why: string): void {
    if (goesOn) this.#parts.calls.cancel(pending, 0);
    else this.#parts.calls.end(pending);
    const { caller, call, service } = pending;
    this.#parts.calls.refuse(caller, call, service, { code: "REJECTED_REPLY", why });
  }

  #rejectSize(pending: PendingCall, goesOn: boolean, limit: number, actual: number): void {
    if (goesOn) this.#parts.calls.cancel(pending, 0);
    else this.#parts.calls.end(pending);
    const { responder, caller, call, service } = pending;
    const what = { topic: service.topic.name, limit, actual, kind: "reply" as const };
    countFailed(caller, service);
    this.#parts.delivery.tellTooLarge(responder, what, caller, call);
  }

  /** A large reply waited, and then it could not be passed on. */
  #loseReply(pending: PendingCall, isPart: boolean): void {
    // Given up meanwhile.
    if (isPart && !isPending(pending)) return;
    if (isPart) this.#parts.calls.cancel(pending, 0);
    const { caller, call, service } = pending;
    const failure = replyFailure(this.#parts.budget, caller.queue, FDS_NOT_PASSED);
    this.#parts.calls.refuse(caller, call, service, failure);
  }
}
