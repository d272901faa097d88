/**
 * Last values, put together: the table, who takes them in, and who gives them out. What sessions.ts
 * drives; it does nothing of its own accord.
 */

import { NEVER } from "../deadlines.ts";
import type { FdIntake } from "../fds/fd-intake.ts";
import type { Router } from "../routing/router.ts";
import { EXPIRY_MS_PER_TURN, REPLAY_MS_PER_TURN } from "../turn-limits.ts";
import { Replay, type ReplayParts } from "./replay.ts";
import { RetainedArea, type RetainedAreaParts } from "./retained-area.ts";
import { RetainedTable } from "./retained-table.ts";

/** What it is made from. */
export type RetainedParts = Omit<ReplayParts, "table"> &
  Pick<RetainedAreaParts, "send" | "onEvent" | "now">;

/** The last values of one broker. */
export class Retained {
  /** Gives them to new subscribers. */
  readonly replay: Replay;
  readonly #parts: RetainedParts;
  readonly #table: RetainedTable;

  constructor(parts: RetainedParts) {
    this.#parts = parts;
    this.#table = new RetainedTable(parts.state.topics);
    this.replay = new Replay({ ...parts, table: this.#table });
  }

  /** Takes them in; to be called once. */
  area(router: Router, intake: FdIntake): RetainedArea {
    return new RetainedArea({
      ...this.#parts,
      table: this.#table,
      replay: this.replay,
      router,
      intake,
    });
  }

  /** How many last values there are, and what they are charged for. */
  get counters(): Readonly<Record<"values" | "bytes" | "fds", number>> {
    return { values: this.#table.size, ...this.#table.charged };
  }

  /** When work() has to look at the clock again; Infinity for never. */
  get nextDeadline(): number {
    return this.#table.nextDeadline;
  }

  /**
   * Does what is due at the end of a turn: lets go of what has expired, then gives values out.
   * @param timer starts to count so many milliseconds; what it returns asks whether some are left
   */
  work(timer: (milliseconds: number) => () => boolean): void {
    const { now } = this.#parts;
    if (this.nextDeadline !== NEVER) {
      this.#table.expire(now(), timer(EXPIRY_MS_PER_TURN));
    }
    if (!this.replay.isIdle) this.replay.run(timer(REPLAY_MS_PER_TURN));
  }

  /** Lets go of values that the policy, which was replaced, does not let topics have any more. */
  sweep(): Generator<void, void> {
    return this.#table.sweep((topic) => this.#isForbidden(topic));
  }

  /** Lets go of everything. */
  close(): void {
    this.replay.clear();
    this.#table.clearAll();
  }

  #isForbidden(topic: string): boolean {
    return this.#parts.state.retainRefusalOf(topic)?.mode === "enforce";
  }
}
