/**
 * What one connection has lost since its last gap frame: how many messages on which topics. Pure
 * counting; the send queue decides when to record and when to tell.
 */

import { FRAME_BYTES_OFFSET, FRAME_ID_OFFSET, paddedBytes } from "../../protocol/frame.ts";
import { GAP_TOPICS_MAX } from "./limits.ts";

/** The id in a GAP frame that stands for several topics. */
export const SEVERAL_TOPICS = 0;

/** Losses by topic id, bounded by GAP_TOPICS_MAX. */
export class GapLedger {
  readonly #countByTopic = new Map<number, number>();

  get isEmpty(): boolean {
    return this.#countByTopic.size === 0;
  }

  /**
   * Counts every message of a run of frames as lost.
   * @param words the buffer that holds the run
   * @param offset bytes from its start, a frame boundary
   * @param bytes length of the run, whole frames with padding
   * @param untold topic ids that the client does not know; they are counted without a name
   */
  record(words: Uint32Array, offset: number, bytes: number, untold?: ReadonlySet<number>): void {
    const end = offset + bytes;
    let topicId = SEVERAL_TOPICS;
    let count = 0;
    for (let at = offset; at < end; ) {
      const word = at >>> 2;
      const id = words[word + FRAME_ID_OFFSET / 4] ?? SEVERAL_TOPICS;
      if (id !== topicId) {
        this.#addRun(topicId, count, untold);
        topicId = id;
        count = 0;
      }
      count += 1;
      at += paddedBytes(words[word + FRAME_BYTES_OFFSET / 4] ?? bytes);
    }
    this.#addRun(topicId, count, untold);
  }

  /** Neighbours on one topic are looked up together: a flood is lost at the cost of walking it. */
  #addRun(topicId: number, count: number, untold: ReadonlySet<number> | undefined): void {
    this.add(untold?.has(topicId) === true ? SEVERAL_TOPICS : topicId, count);
  }

  /** The topic id is about to name another topic: what it lost is told without a name. */
  forgetTopic(topicId: number): void {
    const count = this.#countByTopic.get(topicId);
    if (count === undefined || topicId === SEVERAL_TOPICS) return;
    this.#countByTopic.delete(topicId);
    this.add(SEVERAL_TOPICS, count);
  }

  /** Hands over all losses, as [topic id, count], and starts again at none. */
  take(): [topicId: number, count: number][] {
    const losses = [...this.#countByTopic];
    this.#countByTopic.clear();
    return losses;
  }

  /** Counts messages on a topic as lost. */
  add(topicId: number, count: number): void {
    if (count === 0) return;
    const known = this.#countByTopic.get(topicId);
    if (known !== undefined) this.#countByTopic.set(topicId, known + count);
    else if (this.#countByTopic.size < GAP_TOPICS_MAX) this.#countByTopic.set(topicId, count);
    else {
      const several = this.#countByTopic.get(SEVERAL_TOPICS) ?? 0;
      this.#countByTopic.set(SEVERAL_TOPICS, several + count);
    }
  }
}
