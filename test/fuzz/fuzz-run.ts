/**
 * What every fuzzer needs: a seeded source of randomness, a failure that can be replayed, and the
 * command line `bun test/fuzz/X.fuzz.ts [--seconds N] [--seed S]`. Knows nothing of what is fuzzed.
 */

import { parseArgs } from "node:util";

const SECONDS_DEFAULT = 10;
const UINT32 = 2 ** 32;

/** Random numbers that are the same for the same seed. Not for anything secret. */
export class Random {
  #state: number;

  /** @param seed any integer */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to 2^32 - 1: a Weyl sequence, whose steps are mixed by multiplying. */
  uint32(): number {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.uint32() / UINT32) * limit);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** One of the items, of which there must be some. */
  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** The code under test did what it must not, on an input that can be made again. */
export class FuzzFailure extends Error {
  override readonly name = "FuzzFailure";

  constructor(reason: string, input: Uint8Array, seed: number, options?: ErrorOptions) {
    super(`${reason} (seed ${seed}, input ${input.toHex()})`, options);
  }
}

/** When a run ends: after so many inputs, or so many seconds. */
export interface FuzzBudget {
  readonly seed: number;
  readonly iterations?: number;
  readonly seconds?: number;
}

/** How many inputs were tried, and how many of them the code under test took. */
export interface FuzzReport {
  readonly iterations: number;
  readonly accepted: number;
}

/**
 * Tries inputs until the budget is spent. Input number n is made from seed + n alone, so a failure
 * is replayed by a run of one iteration with the seed that it names.
 * @param tryOne makes and tries one input; returns whether it was accepted
 * @throws {FuzzFailure} what tryOne() throws
 */
export function runFuzz(
  budget: FuzzBudget,
  tryOne: (random: Random, seed: number) => boolean,
): FuzzReport {
  const iterationsMax = budget.iterations ?? Number.POSITIVE_INFINITY;
  const endMs = performance.now() + (budget.seconds ?? Number.POSITIVE_INFINITY) * 1000;
  let iterations = 0;
  let accepted = 0;
  while (iterations < iterationsMax && performance.now() < endMs) {
    const seed = (budget.seed + iterations) >>> 0;
    if (tryOne(new Random(seed), seed)) accepted += 1;
    iterations += 1;
  }
  return { iterations, accepted };
}

/**
 * The command line of a fuzzer: prints the seed first, so that a crash can be replayed too.
 * @param fuzz runs within the budget
 */
export function fuzzMain(name: string, fuzz: (budget: FuzzBudget) => FuzzReport): void {
  const { values } = parseArgs({
    options: { seconds: { type: "string" }, seed: { type: "string" } },
  });
  const seconds = integerOption("seconds", values.seconds) ?? SECONDS_DEFAULT;
  const seed = integerOption("seed", values.seed) ?? crypto.getRandomValues(Uint32Array.of(0))[0];
  process.stdout.write(`${name}: seed ${seed}, ${seconds} s\n`);
  const report = fuzz({ seed: seed ?? 0, seconds });
  process.stdout.write(`${name}: ${report.iterations} inputs, ${report.accepted} accepted\n`);
}

function integerOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text)) throw new Error(`--${name} is not an integer: ${text}`);
  return Number(text);
}
