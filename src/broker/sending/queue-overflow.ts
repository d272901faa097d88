/**
 * What a send queue does where it is full: which of its topics may lose old messages, which must
 * lose nothing, and when going through the queue is worth it. A queue whose client never asked for
 * anything has none of this.
 */

import { FRAME_BYTES_OFFSET, FRAME_ID_OFFSET, paddedBytes } from "../../protocol/frame.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import {
  COMPACTION_BYTES_MIN,
  LATEST_BYTES_KEPT,
  SEND_QUEUE_FDS_MAX,
  SEND_QUEUE_MEMORY_BYTES_MAX,
} from "../limits.ts";
import { OVERFLOW_DEFAULT } from "./overflow-rules.ts";
import type { PacketShare } from "./packet-pool.ts";
import { compactPackets } from "./queue-compaction.ts";
import { ACCEPTED, QUEUE_FULL, SLOW_READER } from "./queue-outcomes.ts";
import { fitsReserve } from "./queue-room.ts";
import type { WaitingPackets } from "./waiting-packets.ts";

/** As COMPACTION_BYTES_MIN, for the other things that fill a queue. */
const COMPACTION_FDS_MIN = SEND_QUEUE_FDS_MAX / 16;
const COMPACTION_MEMORY_BYTES_MIN = SEND_QUEUE_MEMORY_BYTES_MAX / 16;

/** The overflow policies of one queue, by topic id. */
export class QueueOverflow {
  readonly #byTopic = new Map<number, OverflowPolicy>();
  readonly #waiting: WaitingPackets;
  readonly #pool: PacketShare;
  readonly #tellGaps: () => number;
  /** What had been taken in all at the last compaction. */
  #bytesSeen = Number.NEGATIVE_INFINITY;
  #fdsSeen = Number.NEGATIVE_INFINITY;
  #memoryBytesSeen = Number.NEGATIVE_INFINITY;

  /**
   * @param waiting what the queue holds
   * @param pool where that came from
   * @param tellGaps puts word of what was lost into the queue; ACCEPTED, or QUEUE_FULL
   */
  constructor(waiting: WaitingPackets, pool: PacketShare, tellGaps: () => number) {
    this.#waiting = waiting;
    this.#pool = pool;
    this.#tellGaps = tellGaps;
  }

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
   * Makes room for a run by what its topics ask for.
   * @param hasRoom whether there is room
   * @returns ACCEPTED where it is to be taken, QUEUE_FULL where it is lost, or SLOW_READER
   */
  makeRoom(
    words: Uint32Array,
    run: { readonly offset: number; readonly bytes: number },
    hasRoom: () => boolean,
  ): number {
    const has = (policy: OverflowPolicy) => this.runHas(policy, words, run);
    if (has("disconnect")) return SLOW_READER;
    const mustTake = has("block");
    const mayDrop = has("drop-oldest") || has("latest-per-topic");
    if (mayDrop && this.#compact()) {
      const isWorthTelling = this.#waiting.bytes <= LATEST_BYTES_KEPT;
      if (isWorthTelling && this.#tellGaps() === QUEUE_FULL) return SLOW_READER;
    }
    if (hasRoom()) return ACCEPTED;
    if (!mustTake) return QUEUE_FULL;
    // It must not be lost. Publishers are held back before; the broker's own messages are not.
    if (!fitsReserve(this.#waiting, run.bytes)) return SLOW_READER;
    // Word of what was lost before it has the reserve.
    return this.#tellGaps() === QUEUE_FULL ? SLOW_READER : ACCEPTED;
  }

  /**
   * Drops what may go of a full queue, where that is worth it.
   * @returns whether the queue was gone through
   */
  #compact(): boolean {
    const waiting = this.#waiting;
    const pool = this.#pool;
    const isWorthIt =
      waiting.bytesTaken - this.#bytesSeen >= COMPACTION_BYTES_MIN ||
      waiting.fdsTaken - this.#fdsSeen >= COMPACTION_FDS_MIN ||
      waiting.memoryBytesTaken - this.#memoryBytesSeen >= COMPACTION_MEMORY_BYTES_MIN;
    if (!isWorthIt) return false;
    const { kept, dropped, lost } = compactPackets(waiting.takeAll(), this.of, pool);
    for (const packet of kept) waiting.putBack(packet);
    waiting.noteLost(lost);
    this.#bytesSeen = waiting.bytesTaken;
    this.#fdsSeen = waiting.fdsTaken;
    this.#memoryBytesSeen = waiting.memoryBytesTaken;
    // A payer that hears of it may have something to say, on this very queue: only now.
    for (const packet of dropped) pool.drop(packet);
    return true;
  }
}
