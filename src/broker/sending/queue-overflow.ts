/**
 * What a send queue does where it is full: which of its topics may lose old messages, which must
 * lose nothing, and when going through the queue is worth it. A queue whose client never asked for
 * anything has none of this.
 */

import { FRAME_BYTES_OFFSET, FRAME_ID_OFFSET, paddedBytes } from "../../protocol/frame.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import {
  COMPACTION_BYTES_MIN,
  COMPACTION_SHARE,
  SEND_QUEUE_FDS_MAX,
  SEND_QUEUE_MEMORY_BYTES_MAX,
} from "./limits.ts";
import { OVERFLOW_DEFAULT } from "./overflow-rules.ts";
import type { PacketShare } from "./packet-pool.ts";
import { type CompactionTarget, compactPackets } from "./queue-compaction.ts";
import { ACCEPTED, QUEUE_FULL, SLOW_READER } from "./queue-outcomes.ts";
import { fitsReserve, keptLatest, resumeLoad } from "./queue-room.ts";
import type { WaitingPackets } from "./waiting-packets.ts";

/** As COMPACTION_BYTES_MIN, for the other things that fill a queue. */
const COMPACTION_FDS_MIN = SEND_QUEUE_FDS_MAX / 16;
const COMPACTION_MEMORY_BYTES_MIN = SEND_QUEUE_MEMORY_BYTES_MAX / 16;

/**
 * How much of what usually stays in a compaction does, where the one before was not enough: frames
 * of an awkward size leave half of each packet empty, and those between frames with fds nearly all.
 */
const SHARES_LEFT = [1, 1 / 4, 0];

/** One bit for each policy, so that one walk over a run tells which ones its topics have. */
const POLICY_BIT: Readonly<Record<OverflowPolicy, number>> = {
  "drop-newest": 1,
  "drop-oldest": 2,
  "latest-per-topic": 4,
  block: 8,
  disconnect: 16,
};

/** Policies that lose old messages for a new one. */
const DROPS_OLD = POLICY_BIT["drop-oldest"] | POLICY_BIT["latest-per-topic"];

/** The overflow policies of one queue, by topic id. */
export class QueueOverflow {
  readonly #byTopic = new Map<number, OverflowPolicy>();
  readonly #waiting: WaitingPackets;
  readonly #pool: PacketShare;
  readonly #tellGaps: () => number;
  /** What had been taken in all at the last compaction, and what that left. */
  #bytesSeen = Number.NEGATIVE_INFINITY;
  #fdsSeen = Number.NEGATIVE_INFINITY;
  #memoryBytesSeen = Number.NEGATIVE_INFINITY;
  #bytesLeft = 0;
  /** Compactions since the last one that was due by itself. */
  #depth = 0;
  #mayLoseMore = true;

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

  /** @returns a POLICY_BIT for each policy that a message of a run has */
  #policiesOf(
    words: Uint32Array,
    { offset, bytes }: { readonly offset: number; readonly bytes: number },
  ): number {
    let policies = 0;
    let lastId = 0;
    for (let at = offset; at < offset + bytes; ) {
      const word = at >>> 2;
      const id = words[word + FRAME_ID_OFFSET / 4] as number;
      if (id !== lastId) policies |= POLICY_BIT[this.#byTopic.get(id) ?? OVERFLOW_DEFAULT];
      lastId = id;
      at += paddedBytes(words[word + FRAME_BYTES_OFFSET / 4] as number);
    }
    return policies;
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
    const policies = this.#policiesOf(words, run);
    if ((policies & POLICY_BIT.disconnect) !== 0) return SLOW_READER;
    const mustTake = (policies & POLICY_BIT.block) !== 0;
    const mayDrop = (policies & DROPS_OLD) !== 0;
    if (mayDrop && !this.dropOld(hasRoom)) return SLOW_READER;
    if (hasRoom()) return ACCEPTED;
    // Beside one packet that stays, such as word of what was dropped, any one is taken.
    const isNext = mayDrop && this.#waiting.at(1) === undefined;
    if (!mustTake && !isNext) return QUEUE_FULL;
    // It must not be lost. Publishers are held back before; the broker's own messages are not.
    if (!fitsReserve(this.#waiting, run.bytes)) return SLOW_READER;
    // Word of what was lost before it has the reserve.
    return this.#tellGaps() === QUEUE_FULL ? SLOW_READER : ACCEPTED;
  }

  /** Whether a topic may lose old messages for a new one. */
  dropsOld(topicId: number): boolean {
    return (POLICY_BIT[this.#byTopic.get(topicId) ?? OVERFLOW_DEFAULT] & DROPS_OLD) !== 0;
  }

  /**
   * Drops what may go until there is room, or no more is worth it.
   * @returns false where word of what was lost has no room
   */
  dropOld(hasRoom: () => boolean): boolean {
    while (!hasRoom() && this.#compact()) {
      const isWorthTelling = this.#waiting.bytes <= keptLatest(this.#pool.bytesMax);
      if (isWorthTelling && this.#tellGaps() === QUEUE_FULL) return false;
    }
    return true;
  }

  /**
   * Drops what may go of a full queue, where that is worth it: more of it each time that the last
   * compaction was not enough, so that few are needed.
   * @returns whether the queue was gone through
   */
  #compact(): boolean {
    if (this.#isDue()) this.#depth = 0;
    else if (this.#mayLoseMore) this.#depth += 1;
    else return false;
    const share = SHARES_LEFT[this.#depth];
    if (share === undefined) return false;
    const waiting = this.#waiting;
    const pool = this.#pool;
    const target = this.#target(share);
    const parts = { overflowOf: this.of, pool, target };
    const { kept, dropped, lost, mayLoseMore } = compactPackets(waiting.takeAll(), parts);
    for (const packet of kept) waiting.putBack(packet);
    waiting.noteLost(lost);
    this.#mayLoseMore = mayLoseMore;
    this.#bytesSeen = waiting.bytesTaken;
    this.#bytesLeft = waiting.bytes;
    this.#fdsSeen = waiting.fdsTaken;
    this.#memoryBytesSeen = waiting.memoryBytesTaken;
    // A payer that hears of it may have something to say, on this very queue: only now.
    for (const packet of dropped) pool.drop(packet);
    return true;
  }

  /** Whether enough came since the last compaction to bear the cost of one. */
  #isDue(): boolean {
    const { bytesTaken, fdsTaken, memoryBytesTaken } = this.#waiting;
    const bytesMin = Math.min(COMPACTION_BYTES_MIN, this.#bytesLeft / COMPACTION_SHARE);
    return (
      bytesTaken - this.#bytesSeen > bytesMin ||
      fdsTaken - this.#fdsSeen >= COMPACTION_FDS_MIN ||
      memoryBytesTaken - this.#memoryBytesSeen >= COMPACTION_MEMORY_BYTES_MIN
    );
  }

  /** What may be left of the queue. @param share of what usually is */
  #target(share: number): CompactionTarget {
    const { bytesMax } = this.#pool;
    const { bytes, fds, memoryBytes } = resumeLoad(bytesMax);
    return {
      bytes: bytes * share,
      fds: fds * share,
      memoryBytes: memoryBytes * share,
      latestBytes: keptLatest(bytesMax) * share,
    };
  }
}
