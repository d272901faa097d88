/**
 * Work in steps, on behalf of users: each user in turn has one step of its oldest piece of work done.
 * So nobody's work waits for all of somebody else's, however much that is. Knows no clock.
 */

/** Work that can be stopped after any step. A step should take well under a millisecond. */
export type Steps = Iterator<void, void>;

/** Pieces of work by user. */
export class FairSteps {
  /** By uid, the one whose turn it is first; of each the oldest first. */
  readonly #byUid = new Map<number, Set<Steps>>();

  /** Whether step() has nothing to do. */
  get isEmpty(): boolean {
    return this.#byUid.size === 0;
  }

  /**
   * Adds work behind all other of the user. What it throws is a bug.
   * @param uid any number: those with the same one share a turn
   */
  add(uid: number, steps: Steps): void {
    const queue = this.#byUid.get(uid);
    if (queue === undefined) this.#byUid.set(uid, new Set([steps]));
    else queue.add(steps);
  }

  /** Does one step for the user whose turn it is; nothing where there is no work. */
  step(): void {
    const turn = this.#byUid.entries().next().value;
    if (turn === undefined) return;
    const [uid, queue] = turn;
    const oldest = queue.values().next().value;
    if (oldest?.next().done === true) queue.delete(oldest);
    // Behind the step, which may have added work of the same user.
    this.#byUid.delete(uid);
    if (queue.size > 0) this.#byUid.set(uid, queue);
  }
}
