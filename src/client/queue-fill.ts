/**
 * How full a subscription is that must lose nothing, as its bus has to know: where it is full, nothing
 * more is read for anybody. Says so at each change; what follows from it is read-gate.ts's.
 */

import type { Fill } from "./read-gate.ts";

/** What is asked of the queue. */
export interface Filling {
  readonly isFull: boolean;
  /** Whether at most half of what may wait does. */
  readonly isLow: boolean;
  /** Whether more than setCeiling() allows has come since. */
  readonly isOver: boolean;
  setCeiling(): void;
}

/** The fill of one queue. */
export class QueueFill {
  readonly #queue: Filling;
  readonly #losesBeyond: boolean;
  readonly #onChange: (fill: Fill) => void;
  #fill: Fill = "room";
  #isEnded = false;

  /**
   * @param losesBeyond the broker does not hold publishers back for it: what comes beyond the ceiling
   *   is lost
   */
  constructor(queue: Filling, losesBeyond: boolean, onChange: (fill: Fill) => void) {
    this.#queue = queue;
    this.#losesBeyond = losesBeyond;
    this.#onChange = onChange;
  }

  /** At most half waits, or it was not full since then. */
  get isRoom(): boolean {
    return this.#fill === "room";
  }

  /** Whether the next message is to be lost. */
  get losesMore(): boolean {
    return this.#losesBeyond && this.#fill === "full" && this.#queue.isOver;
  }

  /** A message has come to wait, or was taken. */
  update(): void {
    const fill = this.#next();
    if (fill === this.#fill) return;
    this.#fill = fill;
    this.#onChange(fill);
  }

  /** The next connection may bring as much as this one. */
  allowMore(): void {
    if (this.isRoom) return;
    this.#queue.setCeiling();
    this.update();
  }

  /** Nothing more comes: it keeps nobody from reading. */
  end(): void {
    this.#isEnded = true;
    this.update();
  }

  #next(): Fill {
    if (this.#isEnded) return "room";
    if (!this.#queue.isFull) return this.isRoom || this.#queue.isLow ? "room" : "draining";
    if (this.isRoom || this.#fill === "draining") this.#queue.setCeiling();
    return this.#queue.isOver && !this.#losesBeyond ? "over" : "full";
  }
}
