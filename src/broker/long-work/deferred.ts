/**
 * What is to be done at the end of the turn and not where it was found out: in the middle of a send
 * queue's work nothing may be sent to anybody, since that can end the very connection whose queue it
 * is. Whoever is told later must look whether it still matters.
 */

/** Things to do at the end of the turn, in order. */
export class Deferred {
  #tasks: (() => void)[] = [];

  /** Whether run() has nothing to do. */
  get isEmpty(): boolean {
    return this.#tasks.length === 0;
  }

  /** Does it at the next run(). */
  add(task: () => void): void {
    this.#tasks.push(task);
  }

  /** Does all that was added before; what that adds waits for the next time. */
  run(): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
  }
}
