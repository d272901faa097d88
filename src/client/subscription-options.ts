/**
 * What a program may choose for one subscription, with what each choice means. How it comes about is
 * subscription.ts's.
 */

import type { OverflowPolicy } from "../protocol/words.ts";
import type { OnMessage } from "./callbacks.ts";
import type { Gap } from "./gaps.ts";

/** Choices for one subscription. */
export interface SubscribeOptions<Data = unknown> {
  /**
   * Called for each message, in order, instead of queueing it for an iterator. A message counts as
   * unfinished until the promise that this returns is settled. What it throws, or its promise rejects
   * with, is thrown again outside, as an uncaught error of the program.
   */
  readonly onMessage?: OnMessage<Data>;
  /**
   * Callbacks that may be unfinished at a time; 1 for one after the other. What comes meanwhile waits
   * as for an iterator, under `queueMessagesMax` and `overflow`. Default: `queueMessagesMax`.
   */
  readonly concurrency?: number;
  /** The queue group to join: of all its members, one gets each message. 1 to 64 characters. */
  readonly group?: string;
  /**
   * What happens to messages that come faster than they are read: in the broker's queue for this
   * client, and in the subscription's own. "block" needs the policy's leave. Default: in the broker
   * what the policy sets, else "drop-newest"; here "drop-newest", and "block" in a queue group.
   * With "latest-per-topic" one message of each topic waits here, full or not.
   */
  readonly overflow?: OverflowPolicy;
  /**
   * Messages that may wait for the iterator, or for callbacks to finish. Those in hand do not wait
   * and are not counted. More are dealt with as `overflow` says; with "block"
   * nothing more is read from the broker, for any subscription of the bus. Default 65,536; 256 in a
   * queue group, so that work stays with those who are free.
   */
  readonly queueMessagesMax?: number;
  /**
   * Bytes of bodies that may wait, dealt with as the number of messages is; as many may be with
   * unfinished callbacks. One message may always wait, however long it is. Default 256 MiB.
   */
  readonly queueBytesMax?: number;
  /** Called where messages are missing: before the next message is handed out. */
  readonly onGap?: (gap: Gap) => void;
  /**
   * next() rejects with a GapError in the place of missing messages. The iteration can go on
   * afterwards: the subscription is still open.
   */
  readonly gapErrors?: boolean;
  /** Aborting closes the subscription. */
  readonly signal?: AbortSignal;
}
