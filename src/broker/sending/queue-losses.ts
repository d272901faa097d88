/**
 * What one connection loses, and is to be told: how many messages since its last gap frame, and which
 * topics it does not know by name. Decides nothing about what is lost; that is queue-arrival.ts's.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { FRAME_ID_WORD, FRAME_KIND_WORD, paddedBytes } from "../../protocol/frame.ts";
import { isMessage } from "./frame-marks.ts";
import { GapLedger, SEVERAL_TOPICS } from "./gap-ledger.ts";

/** The losses of one queue. */
export class QueueLosses {
  /** Undefined until something is lost. */
  #ledger: GapLedger | undefined;
  /** Topic ids that the client was not told; undefined for none. */
  #hidden: Set<number> | undefined;
  /** Some losses are not told yet: until then messages are lost, so that they stay in order. */
  isShedding = false;
  /** Whether any topic is hidden. */
  hasHidden = false;

  /** The client does not know a topic id: messages that bear it are lost to it, without a name. */
  hide(topicId: number): void {
    this.#hidden ??= new Set();
    this.#hidden.add(topicId);
    this.hasHidden = true;
  }

  /** The client is told of a topic id now. */
  reveal(topicId: number): void {
    if (this.#hidden?.delete(topicId) !== true || this.#hidden.size > 0) return;
    this.#hidden = undefined;
    this.hasHidden = false;
  }

  /** Whether a run of messages has one of a topic that is hidden. Other frames have no topic. */
  hides({ words }: PinnedBuffer, offset: number, bytes: number): boolean {
    const hidden = this.#hidden;
    if (hidden === undefined) return false;
    if (!isMessage(words[(offset >>> 2) + FRAME_KIND_WORD] as number)) return false;
    for (let at = offset; at < offset + bytes; ) {
      if (hidden.has(words[(at >>> 2) + FRAME_ID_WORD] as number)) return true;
      at += paddedBytes(words[at >>> 2] as number);
    }
    return false;
  }

  /** A run of messages is lost. */
  record({ words }: PinnedBuffer, offset: number, bytes: number): void {
    this.isShedding = true;
    this.#ledger ??= new GapLedger();
    this.#ledger.record(words, offset, bytes, this.#hidden);
  }

  /** Messages are lost that bear no topic id which the client knows. */
  recordUntold(messages: number): void {
    this.isShedding = true;
    this.#ledger ??= new GapLedger();
    this.#ledger.add(SEVERAL_TOPICS, messages);
  }

  /** A topic id comes to stand for another topic: losses under it must not be told by its name. */
  forgetTopic(topicId: number): void {
    this.#ledger?.forgetTopic(topicId);
  }

  /** Hands over what is to be told, as [topic id, count]; none of it is to be told again. */
  take(): [topicId: number, count: number][] {
    this.isShedding = false;
    return this.#ledger?.take() ?? [];
  }
}
