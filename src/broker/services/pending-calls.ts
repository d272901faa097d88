/**
 * Calls between their request and their last answer, and how they end. Each ends exactly once: what
 * ends one takes it out of the tables first. Why one ends is calls.ts's and replies.ts's.
 */

import { assert } from "../../assert.ts";
import { FLAG_TIMED_OUT } from "../../protocol/opcodes.ts";
import type { Connection } from "../connection.ts";
import { RESOURCE } from "../quotas/quota.ts";
import type { Answers, Failure } from "./answers.ts";
import type { ConnectionServices, PendingCall } from "./connection-services.ts";
import { type HeldWords, STREAM_CREDIT_MAX } from "./held-words.ts";
import type { Service } from "./service-table.ts";

/**
 * pending: calls without an answer. requests: handed to who serves them. replies: handed to who
 * called, but for parts of others, which are replyParts. lateReplies: dropped, because their call was
 * over.
 */
export type CallCounters = {
  [C in "pending" | "requests" | "replies" | "replyParts" | "lateReplies"]: number;
};

/** The calls of a broker that have no last answer yet, and what calls came to. */
export class PendingCalls {
  /** Since the start. */
  readonly counters: CallCounters = {
    pending: 0,
    requests: 0,
    replies: 0,
    replyParts: 0,
    lateReplies: 0,
  };
  readonly #answers: Pick<Answers, "fail">;
  readonly #held: Pick<HeldWords, "cancel" | "credit">;

  constructor(answers: Pick<Answers, "fail">, held: Pick<HeldWords, "cancel" | "credit">) {
    this.#answers = answers;
    this.#held = held;
  }

  /** A member has got a request, whose caller is charged for it. */
  add(pending: PendingCall, responder: ConnectionServices): void {
    pending.caller.services?.calls.set(pending.call, pending);
    responder.requests.set(pending.request, pending);
    pending.service.chargeRequest(pending.member);
    this.counters.pending += 1;
    this.counters.requests += 1;
    responder.figures.requests += 1;
    pending.service.figures.requests += 1;
  }

  /** Takes a call out of the tables. What is told of it is for whoever asks for that. */
  end(pending: PendingCall): void {
    const { caller, call, responder, request, service, member } = pending;
    const isKnown = responder.services?.requests.delete(request) === true;
    assert(isKnown, "a call ends once");
    this.counters.pending -= 1;
    caller.services?.calls.delete(call);
    caller.quota.release(RESOURCE.pendingCalls, 1);
    service.releaseRequest(member);
  }

  /** The caller gives a call up, or has gone; without effect where it is over. @param flags of CANCEL */
  cancel(pending: PendingCall | undefined, flags: number): void {
    if (pending === undefined) return;
    this.end(pending);
    if ((flags & FLAG_TIMED_OUT) !== 0) countFailed(pending.caller, pending.service);
    this.#held.cancel(pending.responder, pending.request, flags);
  }

  /** The caller takes so many parts more. Without effect on a call that is over, or has one answer. */
  credit(pending: PendingCall | undefined, count: number): void {
    if (pending?.isStream !== true) return;
    pending.credit = Math.min(pending.credit + count, STREAM_CREDIT_MAX);
    this.#held.credit(pending.responder, pending.request, count);
  }

  /** A call ends with an ERROR. */
  fail(pending: PendingCall, failure: Failure): void {
    this.end(pending);
    this.refuse(pending.caller, pending.call, pending.service, failure);
  }

  /** The ERROR that answers a call, which is in no table any more, or never was. */
  refuse(caller: Connection, call: number, service: Service<Connection>, failure: Failure): void {
    const topic = service.topic.name;
    countFailed(caller, service);
    this.#answers.fail(caller, call, { topic, cannot: `Cannot call "${topic}"` }, failure);
  }
}

/** A call has ended with an ERROR, or was given up for its time-out. */
export function countFailed({ services }: Connection, { figures }: Service<Connection>): void {
  figures.callsFailed += 1;
  if (services !== undefined) services.figures.callsFailed += 1;
}

/** Whether a call has not ended yet. */
export function isPending(pending: PendingCall): boolean {
  return pending.responder.services?.requests.get(pending.request) === pending;
}
