/**
 * Long work in short steps, done between the packets: so that a reload of the policy with thousands
 * of rules, or of thousands of connections' rights, never holds up delivery for long.
 */

/** Work that can be stopped after any step. A step should take well under a millisecond. */
export type Steps = Iterator<void, void>;

/** Works off pieces of work one after the other. */
export class Background {
  readonly #queue: Steps[] = [];

  /** Whether run() has nothing to do. */
  get isIdle(): boolean {
    return this.#queue.length === 0;
  }

  /** Adds work behind all other. What it throws is a bug. */
  add(steps: Steps): void {
    this.#queue.push(steps);
  }

  /**
   * Does steps while there is time; one at least.
   * @param hasTime asked after each step
   */
  run(hasTime: () => boolean): void {
    for (let steps = this.#queue[0]; steps !== undefined; steps = this.#queue[0]) {
      if (steps.next().done === true) this.#queue.shift();
      if (!hasTime()) return;
    }
  }
}
