/**
 * What a send queue does where it is full: which of its topics may lose old messages, which must
 * lose nothing, and when going through the queue is worth it. A queue whose client never asked for
 * anything has none of this.
 */

import { FRAME_BYTES_OFFSET, FRAME_ID_OFFSET, paddedBytes } from "../protocol/frame.ts";
import type { OverflowPolicy } from "../protocol/words.ts";
import { COMPACTION_BYTES_MIN, SEND_QUEUE_FDS_MAX, SEND_QUEUE_MEMORY_BYTES_MAX } from "./limits.ts";
import { OVERFLOW_DEFAULT } from "./overflow-rules.ts";
import type { PacketShare } from "./packet-pool.ts";
import { compactPackets } from "./queue-compaction.ts";
import type { WaitingPackets } from "./waiting-packets.ts";

/** As COMPACTION_BYTES_MIN, for the other things that fill a queue. */
const COMPACTION_FDS_MIN = SEND_QUEUE_FDS_MAX / 16;
const COMPACTION_MEMORY_BYTES_MIN = SEND_QUEUE_MEMORY_BYTES_MAX / 16;

/** The overflow policies of one queue, by topic id. */
export class QueueOverflow {
  readonly #byTopic = new Map<number, OverflowPolicy>();
  /** What had been taken in all at the last compaction. */
  #bytesSeen = Number.NEGATIVE_INFINITY;
  #fdsSeen = Number.NEGATIVE_INFINITY;
  #memoryBytesSeen = Number.NEGATIVE_INFINITY;

  /** Sets what happens to the messages of a topic id. */
  set(topicId: number, overflow: OverflowPolicy): void {
    if (overflow === OVERFLOW_DEFAULT) this.#byTopic.delete(topicId);
    else this.#byTopic.set(topicId, overflow);
  }

  /** What happens to the messages of a topic id; undefined for the default. */
  readonly of = (topicId: number): OverflowPolicy | undefined => this.#byTopic.get(topicId);

  /** Whether a run has a message of a topic with this policy. */
  runHas(
    overflow: OverflowPolicy,
    words: Uint32Array,
    { offset, bytes }: { offset: number; bytes: number },
  ): boolean {
    let lastId = 0;
    for (let at = offset; at < offset + bytes; ) {
      const word = at >>> 2;
      const id = words[word + FRAME_ID_OFFSET / 4] as number;
      if (id !== lastId && this.#byTopic.get(id) === overflow) return true;
      lastId = id;
      at += paddedBytes(words[word + FRAME_BYTES_OFFSET / 4] as number);
    }
    return false;
  }

  /**
   * Drops what may go of a full queue, where that is worth it.
   * @returns whether the queue was gone through
   */
  compact(waiting: WaitingPackets, pool: PacketShare): boolean {
    const isWorthIt =
      waiting.bytesTaken - this.#bytesSeen >= COMPACTION_BYTES_MIN ||
      waiting.fdsTaken - this.#fdsSeen >= COMPACTION_FDS_MIN ||
      waiting.memoryBytesTaken - this.#memoryBytesSeen >= COMPACTION_MEMORY_BYTES_MIN;
    if (!isWorthIt) return false;
    const { kept, dropped } = compactPackets(waiting.takeAll(), this.of, pool);
    for (const packet of kept) waiting.putBack(packet);
    this.#bytesSeen = waiting.bytesTaken;
    this.#fdsSeen = waiting.fdsTaken;
    this.#memoryBytesSeen = waiting.memoryBytesTaken;
    // A payer that hears of it may have something to say, on this very queue: only now.
    for (const packet of dropped) pool.drop(packet);
    return true;
  }
}
