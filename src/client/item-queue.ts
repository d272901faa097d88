/**
 * What waits for an async iterator, and who waits for it: the queue under streams, channels and the
 * like. It has no limit of its own: whoever pushes must have one.
 */

interface Waiting<Item> {
  readonly resolve: (result: IteratorResult<Item>) => void;
  readonly reject: (error: Error) => void;
}

/** Where a queue starts to be cut, in place of shifting an array for each item. */
const CUT_AT = 1_024;

/** Items in order, for any number of concurrent next() calls. */
export class ItemQueue<Item> {
  #items: Item[] = [];
  #head = 0;
  #waiting: Waiting<Item>[] = [];
  #error: Error | undefined;
  #isEnded = false;

  /** Items that nobody has asked for yet. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** Whether somebody waits for the next item. */
  get isWaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** True after end(), also while items are left. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @returns true where somebody had waited for it */
  push(item: Item): boolean {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting.resolve({ done: false, value: item });
    return waiting !== undefined;
  }

  /** The first item at once; undefined where there is none. */
  shift(): Item | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head] as Item;
    this.#head += 1;
    if (this.#head >= CUT_AT || this.length === 0) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Waits for an item. @returns done after the end; rejects once where the end was an error */
  wait(): Promise<IteratorResult<Item>> {
    if (!this.#isEnded) {
      return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    }
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Nothing is pushed any more; what is there can still be taken. Does nothing the second time. */
  end(error: Error | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    for (const waiting of this.#waiting.splice(0)) {
      // The error is for one of them; the others see the end.
      if (this.#error === undefined) waiting.resolve({ done: true, value: undefined });
      else waiting.reject(this.#error);
      this.#error = undefined;
    }
  }

  /** Takes all items out. */
  drain(): Item[] {
    const items = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    return items;
  }
}
