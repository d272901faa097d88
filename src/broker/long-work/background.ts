/**
 * Long work in short steps, done between the packets: so that a reload of the policy with thousands
 * of rules, or of thousands of connections' rights, never holds up delivery for long. There are two
 * kinds: what the policy in force asks for, and news. Each has every second step, and within each
 * users take turns, so a client that brings about any amount of news delays no loss of a right.
 */

import { FairSteps, type Steps } from "./fair-steps.ts";

/** The broker's own work, where a uid is asked for: no user has this one. */
export const OF_BROKER = -1;

/** Works off pieces of work. */
export class Background {
  readonly #rights = new FairSteps();
  readonly #news = new FairSteps();
  #isTurnOfNews = false;

  /** Whether run() has nothing to do. */
  get isIdle(): boolean {
    return this.#rights.isEmpty && this.#news.isEmpty;
  }

  /**
   * Adds work that puts a policy in force, or that others wait for in the same way.
   * @param uid whose rights it is about, or OF_BROKER
   */
  addForRights(uid: number, steps: Steps): void {
    this.#rights.add(uid, steps);
  }

  /**
   * Adds work that tells somebody something.
   * @param uid who brought it about
   */
  addNews(uid: number, steps: Steps): void {
    this.#news.add(uid, steps);
  }

  /**
   * Does steps while there is time; one at least.
   * @param hasTime asked after each step
   */
  run(hasTime: () => boolean): void {
    while (!this.isIdle) {
      const isNews = this.#rights.isEmpty || (this.#isTurnOfNews && !this.#news.isEmpty);
      this.#isTurnOfNews = !isNews;
      if (isNews) this.#news.step();
      else this.#rights.step();
      if (!hasTime()) return;
    }
  }
}
