/**
 * REQUEST and REPLY on the last stretch, to whom they are for: introduced, with the fds that the
 * receiver may have, into its send queue. Which of the two it is and what follows from a failure is
 * calls.ts's.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { largeBodyBytes } from "../../protocol/packet.ts";
import type { BusState } from "../bus-state.ts";
import type { Connection } from "../connection.ts";
import { type DeliveryHost, noteDelivery } from "../delivery.ts";
import type { FdBundle } from "../fd-bundle.ts";
import type { FdIntake } from "../fd-intake.ts";
import type { Introductions } from "../introductions.ts";
import { SEND_QUEUE_BYTES_MAX } from "../limits.ts";
import type { Decision } from "../policy/decide.ts";
import { QUEUE_FULL } from "../send-queue.ts";
import type { Topic } from "../topic-table.ts";

/** deliver(): the receiver may not have the fds, and the topic gives all or nothing. */
export const FDS_DENIED = -1;

/** What it delivers with. */
export interface CallDeliveryParts {
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly intake: FdIntake;
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
    const use = { topic, mayPublish: true, sendFds, requestId };
    return this.#parts.intake.admits(sender, use, bundle, largeBodyBytes(words, 0));
  }

  /**
   * Hands one frame over, with all its header words in place.
   * @returns ACCEPTED, QUEUE_FULL, PEER_GONE, FDS_NOT_PASSED (nothing can be delivered without them)
   *   or FDS_DENIED
   */
  deliver(
    sender: Connection,
    receiver: Connection,
    topic: Topic,
    buffer: PinnedBuffer,
    offset: number,
    bytes: number,
    bundle: FdBundle | undefined,
  ): number {
    const { queue } = receiver;
    // A reader that is behind must not be closed for the introductions of what it does not get.
    if (queue.queuedBytes + bytes > SEND_QUEUE_BYTES_MAX) return QUEUE_FULL;
    const { introductions, host } = this.#parts;
    introductions.introduceSender(receiver, sender);
    const outcome =
      bundle === undefined
        ? queue.deliver(buffer, offset, bytes)
        : this.#deliverWithFds(receiver, topic, buffer, offset, bytes, bundle);
    noteDelivery(host, receiver, outcome);
    return outcome;
  }

  #deliverWithFds(
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
    if (getsFiles) return queue.deliverWithFds(buffer, offset, bytes, bundle);
    if (state.fdRulesOf(topic).areAllOrNothing) return FDS_DENIED;
    return queue.deliverWithheld(buffer, offset, bytes, bundle);
  }
}
