/**
 * Messages that waited in a send queue and are lost: how many, and whose. Their publishers were told
 * that they are delivered, so each loss is counted by origin, where the frames are gone through
 * anyway. Counting only: who is behind an origin, and whether still there, is admission.ts's.
 */

import { FRAME_ORIGIN_WORD } from "../../protocol/frame.ts";
import { isPublished } from "./frame-marks.ts";

/** What one publisher lost. */
export interface LaterLoss {
  /** Its connection id, which may be of one that has gone. */
  readonly origin: number;
  /** Copies that went: as the oldest, with their reader, or with the memory of a large body. */
  lostLater: number;
  /** Copies that a newer message of the same topic stands for, as their reader wished. */
  superseded: number;
}

/** Told of losses after they have happened, once for each publisher. */
export type LaterLossListener = (loss: Readonly<LaterLoss>) => void;

/** Losses, by publisher. Last values and what the broker says itself are not counted. */
export class LossTally {
  /** All of them, and bytes of their frames with padding. */
  messages = 0;
  bytes = 0;
  readonly #byOrigin = new Map<number, LaterLoss>();
  /** Neighbours often have the same origin. */
  #latest: LaterLoss | undefined;

  /**
   * Counts a frame as lost, if it is a message that a client has published.
   * @param at of the frame, in bytes
   * @param bytes of the frame, with padding
   * @param isSuperseded a newer message of its topic stands for it
   */
  add(words: Uint32Array, at: number, bytes: number, isSuperseded = false): void {
    if (!isPublished(words, at)) return;
    this.messages += 1;
    this.bytes += bytes;
    const loss = this.#lossOf(words[(at >>> 2) + FRAME_ORIGIN_WORD] ?? 0);
    if (isSuperseded) loss.superseded += 1;
    else loss.lostLater += 1;
  }

  /** One for each publisher. */
  get losses(): Iterable<Readonly<LaterLoss>> {
    return this.#byOrigin.values();
  }

  #lossOf(origin: number): LaterLoss {
    if (this.#latest?.origin === origin) return this.#latest;
    const loss = this.#byOrigin.get(origin) ?? { origin, lostLater: 0, superseded: 0 };
    this.#byOrigin.set(origin, loss);
    this.#latest = loss;
    return loss;
  }
}
