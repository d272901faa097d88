/**
 * Sums of what is gone, by name, uid or unit. Bounded: the latest FOLDED_SUMS_MAX are kept apart, the
 * others share one sum. Knows nothing of what is added up.
 */

import { FOLDED_SUMS_MAX } from "./limits.ts";

/** Stands for those that are not kept apart. */
export const OTHERS = null;

/** How sums of one kind are made and added. */
export interface SumKind<Sum> {
  /** Nothing so far. */
  zero(): Sum;
  /** Adds all of `from` to `into`. */
  add(into: Sum, from: Readonly<Sum>): void;
}

/** Sums by a key. */
export class FoldedSums<Key, Sum> {
  readonly #kind: SumKind<Sum>;
  /** The one that was added to longest ago comes first. */
  readonly #sums = new Map<Key | typeof OTHERS, Sum>();

  constructor(kind: SumKind<Sum>) {
    this.#kind = kind;
  }

  /** Adds what is gone to the sum of its key. */
  fold(key: Key, gone: Readonly<Sum>): void {
    const sum = this.#sums.get(key) ?? this.#kind.zero();
    this.#sums.delete(key);
    this.#sums.set(key, sum);
    this.#kind.add(sum, gone);
    const apart = this.#sums.size - (this.#sums.has(OTHERS) ? 1 : 0);
    if (apart > FOLDED_SUMS_MAX) this.#foldOldest();
  }

  /** Hands over what was kept apart under a key, which is not gone any more. */
  take(key: Key): Sum | undefined {
    const sum = this.#sums.get(key);
    this.#sums.delete(key);
    return sum;
  }

  /** All of them, in no order that means anything. */
  entries(): Iterable<[Key | typeof OTHERS, Readonly<Sum>]> {
    return this.#sums.entries();
  }

  #foldOldest(): void {
    const others = this.#sums.get(OTHERS) ?? this.#kind.zero();
    this.#sums.delete(OTHERS);
    const [key, oldest] = this.#sums.entries().next().value ?? [];
    if (oldest !== undefined && key !== undefined) {
      this.#kind.add(others, oldest);
      this.#sums.delete(key);
    }
    this.#sums.set(OTHERS, others);
  }
}
