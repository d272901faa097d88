/**
 * Buckets of rules under what rules say of a client: numbers, ranges of numbers, texts with
 * wildcards. Looking up finds every bucket that may hold a rule about the client, and some others.
 */

import type { RuleBucket } from "./rule-bucket.ts";
import type { IdRange } from "./rules.ts";

/** Ids have 32 bits, so that blocks of 2^0 to 2^32 of them are enough. */
const LEVELS = 33;

/** Called for each bucket. */
type Visitor = (bucket: RuleBucket) => void;

/**
 * Buckets under ranges of ids. A range is put into the one or two blocks of aligned ids that cover
 * it and are less than twice as large:
 *
 *     ids     0 1 2 3 4 5 6 7 8 9 …
 *     3-6         [·······]            level 2, blocks 0 and 1
 */
export class IdBuckets {
  readonly #buckets = new Map<number, RuleBucket>();
  /** Levels with a block in use, ascending. */
  readonly #levels: number[] = [];
  readonly #makeBucket: () => RuleBucket;

  constructor(makeBucket: () => RuleBucket) {
    this.#makeBucket = makeBucket;
  }

  /** Visits the buckets of a range, made if they are not there. */
  open({ first, last }: IdRange, visit: Visitor): void {
    const level = Math.ceil(Math.log2(last - first + 1));
    const blockIds = 2 ** level;
    const start = Math.floor(first / blockIds);
    const end = Math.floor(last / blockIds);
    if (!this.#levels.includes(level)) this.#levels.push(level);
    visit(this.#openBlock(level, start));
    if (end !== start) visit(this.#openBlock(level, end));
  }

  /** Visits the buckets of all ranges that an id may be in. */
  find(id: number, visit: Visitor): void {
    for (const level of this.#levels) {
      const bucket = this.#buckets.get(blockKey(level, Math.floor(id / 2 ** level)));
      if (bucket !== undefined) visit(bucket);
    }
  }

  #openBlock(level: number, block: number): RuleBucket {
    const key = blockKey(level, block);
    const bucket = this.#buckets.get(key) ?? this.#makeBucket();
    this.#buckets.set(key, bucket);
    return bucket;
  }
}

function blockKey(level: number, block: number): number {
  return block * LEVELS + level;
}

/** Buckets under texts with wildcards, by what stands before the first wildcard. */
export class WildcardBuckets {
  readonly #buckets = new Map<string, RuleBucket>();
  /** Lengths of the keys in use. */
  readonly #lengths: number[] = [];
  readonly #makeBucket: () => RuleBucket;

  constructor(makeBucket: () => RuleBucket) {
    this.#makeBucket = makeBucket;
  }

  /** The bucket of a text with wildcards, made if it is not there. */
  open(pattern: string): RuleBucket {
    const wildcardAt = pattern.search(/[*?]/);
    const prefix = wildcardAt === -1 ? pattern : pattern.slice(0, wildcardAt);
    if (!this.#lengths.includes(prefix.length)) this.#lengths.push(prefix.length);
    const bucket = this.#buckets.get(prefix) ?? this.#makeBucket();
    this.#buckets.set(prefix, bucket);
    return bucket;
  }

  /** Visits the buckets of all patterns that may match a text. */
  find(text: string, visit: Visitor): void {
    for (const length of this.#lengths) {
      if (length > text.length) continue;
      const bucket = this.#buckets.get(text.slice(0, length));
      if (bucket !== undefined) visit(bucket);
    }
  }
}
