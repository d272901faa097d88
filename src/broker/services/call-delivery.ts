/**
 * REQUEST and REPLY on the last stretch, to whom they are for: introduced, with the fds that the
 * receiver may have, into its send queue. Which of the two it is and what follows from a failure is
 * calls.ts's.
 */

import { assert } from "../../assert.ts";
import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { largeBodyBytes } from "../../protocol/packet.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import type { FdIntake } from "../fds/fd-intake.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import type { Decision } from "../policy/decide.ts";
import { type TooLarge, tellTooLarge } from "../reading/message-limit.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender, Introductions } from "../routing/introductions.ts";
import type { Topic } from "../routing/topic-table.ts";
import { type DeliveryHost, noteDelivery } from "../sending/delivery.ts";
import { SEND_QUEUE_BYTES_MAX } from "../sending/limits.ts";
import type { Member } from "./least-busy.ts";
import { REQUESTS_SHARED_FROM, RequestRoom } from "./request-room.ts";
import type { Service } from "./service-table.ts";

/** deliver(): the receiver may not have the fds, and the topic gives all or nothing. */
export const FDS_DENIED = -1;

/** deliverRequest(): the caller's user has its share of the receiver's queue. */
export const SHARE_FULL = -2;

/** What it delivers with. */
export interface CallDeliveryParts {
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly intake: FdIntake;
  readonly inFlight: Pick<FdsInFlight, "tick" | "follow">;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly host: DeliveryHost;
}

/** Delivers frames of calls. */
export class CallDelivery {
  readonly #parts: CallDeliveryParts;

  constructor(parts: CallDeliveryParts) {
    this.#parts = parts;
  }

  /**
   * Whether the fds of a frame may be passed on; where not, the sender has been told.
   * @param use the topic of the service, and the sender's right to send fds there
   * @param requestId the call that the refusal answers; 0 for none
   */
  admits(
    sender: Connection,
    { topic, sendFds }: { readonly topic: Topic; readonly sendFds: Decision },
    requestId: number,
    { words }: PinnedBuffer,
    bundle: FdBundle,
  ): boolean {
    const { intake } = this.#parts;
    const use = { topic, mayPublish: true, sendFds, requestId };
    if (!intake.admits(sender, use, bundle, largeBodyBytes(words, 0))) return false;
    const { charged, limit } = sender.fdAccount;
    if (charged + bundle.count <= limit) return true;
    intake.refuseForQuota(sender, topic.name, bundle.count, requestId);
    return false;
  }

  /** Bytes of the largest body that a member may reply with; looked up once for each policy. */
  replyBytesMax(member: Member<Connection>, topic: Topic): number {
    const { state } = this.#parts;
    if (member.limitGeneration !== state.policyGeneration) {
      member.replyBytesMax = state.messageBytesMax(member.client, topic.name);
      member.limitGeneration = state.policyGeneration;
    }
    return member.replyBytesMax;
  }

  /** Tells the caller, and the log, that a request or reply is larger than its sender's may be. */
  tellTooLarge(sender: Connection, what: TooLarge, caller: Connection, call: number): void {
    tellTooLarge(this.#parts, sender, what, { to: caller, id: call });
  }

  /**
   * Hands a REQUEST over, with all its header words in place. A large one that another member could
   * take is tried now, whatever follows in this turn: where the kernel does not pass its body on, that
   * is known while the request can still go there.
   * @returns ACCEPTED, QUEUE_FULL, SHARE_FULL, PEER_GONE, FDS_DENIED, FDS_NOT_PASSED or NO_FD_LANE (nothing can be
   *   delivered without them)
   */
  deliverRequest(
    caller: Connection,
    responder: Connection,
    { topic, ownerCount }: Service<Connection>,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): number {
    const { introductions, inFlight } = this.#parts;
    if (!hasRoom(responder, bytes)) return responder.queue.refuse(bytes);
    if (!isAdmitted(caller, responder, bytes)) return SHARE_FULL;
    const isNamed = introductions.introduceTopic(responder, topic);
    if (!isNamed) return responder.queue.refuse(bytes);
    const isLarge = bundle !== undefined && bundle.bodyFds.length > 0;
    if (!isLarge || ownerCount === 1) {
      return this.#deliver(caller, responder, topic, buffer, offset, bytes, bundle);
    }
    introductions.introduceSender(responder, caller);
    responder.queue.sendWaiting();
    const { follow } = inFlight;
    inFlight.follow = false;
    const outcome = this.#deliver(caller, responder, topic, buffer, offset, bytes, bundle);
    inFlight.follow = follow;
    return outcome;
  }

  /** The same with a REPLY. */
  deliverReply(
    responder: Connection,
    caller: Connection,
    topic: Topic,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): number {
    if (!hasRoom(caller, bytes)) return caller.queue.refuse(bytes);
    return this.#deliver(responder, caller, topic, buffer, offset, bytes, bundle);
  }

  #deliver(
    sender: Connection,
    receiver: Connection,
    topic: Topic,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): number {
    const { introductions, host } = this.#parts;
    introductions.introduceSender(receiver, sender);
    const outcome =
      bundle === undefined
        ? receiver.queue.deliver(buffer, offset, bytes)
        : this.#deliverWithFds(sender, receiver, topic, buffer, offset, bytes, bundle);
    noteDelivery(host, receiver, outcome);
    return outcome;
  }

  #deliverWithFds(
    sender: Connection,
    receiver: Connection,
    topic: Topic,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle,
  ): number {
    const { state } = this.#parts;
    const { queue } = receiver;
    const getsFiles =
      bundle.fileCount === 0 || state.decide(receiver, "receive-fds", topic.name).allowed;
    if (!getsFiles && state.fdRulesOf(topic).areAllOrNothing) return FDS_DENIED;
    this.#charge(sender, receiver, getsFiles ? bundle.count : bundle.bodyFds.length);
    return getsFiles
      ? queue.deliverWithFds(buffer, offset, bytes, bundle)
      : queue.deliverWithheld(buffer, offset, bytes, bundle);
  }

  /** The queue gives back what is charged here, when the copies are taken or lost. */
  #charge({ fdAccount }: Connection, { queue }: Connection, copies: number): void {
    this.#parts.inFlight.tick();
    if (fdAccount.isStrainedBy(copies)) queue.lookForTaken();
    assert(fdAccount.charge(copies), "a frame with fds was admitted within the quota");
  }
}

/** Whether a request gets in where the queue fills up. */
function isAdmitted(
  { quota }: Connection,
  { queue, services }: Connection,
  bytes: number,
): boolean {
  if (services === undefined) return true;
  if (queue.queuedBytes <= REQUESTS_SHARED_FROM) {
    if (services.requestRoom !== undefined) services.requestRoom = undefined;
    return true;
  }
  services.requestRoom ??= new RequestRoom();
  return services.requestRoom.admit(quota.user.uid, bytes, queue);
}

/** A reader that is behind must not be closed for the introductions of what it does not get. */
function hasRoom({ queue }: Connection, bytes: number): boolean {
  return queue.queuedBytes + bytes <= SEND_QUEUE_BYTES_MAX;
}
