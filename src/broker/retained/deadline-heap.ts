/**
 * Items by deadline, the nearest first: a binary heap that knows where each item stands, so that one
 * that is gone early leaves at once and not when its time would have come. Pure; reads no clock.
 */

import { assert } from "../../assert.ts";

/** Something with a deadline. Both fields are the heap's while the item is in it. */
export interface Deadlined {
  /** Milliseconds on the broker's clock; must not change while it is in a heap. */
  readonly deadline: number;
  /** Its place in the heap; -1 for none. */
  heapIndex: number;
}

/** Adding and removing cost the logarithm of the size. */
export class DeadlineHeap<Item extends Deadlined> {
  readonly #items: Item[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The item whose deadline is nearest. */
  first(): Item | undefined {
    return this.#items[0];
  }

  /** Adds an item that is in no heap. */
  add(item: Item): void {
    assert(item.heapIndex === -1, "an item is in one heap, once");
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  /** Takes an item out; does nothing where it is in no heap. */
  remove(item: Item): void {
    const index = item.heapIndex;
    if (index === -1) return;
    assert(this.#items[index] === item, "an item is removed from the heap that it is in");
    item.heapIndex = -1;
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    this.#rise(last, index);
    this.#sink(last, last.heapIndex);
  }

  #rise(item: Item, from: number): void {
    let index = from;
    while (index > 0) {
      const above = (index - 1) >>> 1;
      const parent = this.#items[above] as Item;
      if (parent.deadline <= item.deadline) break;
      this.#put(parent, index);
      index = above;
    }
    this.#put(item, index);
  }

  #sink(item: Item, from: number): void {
    let index = from;
    for (;;) {
      const child = this.#nearerChild(index);
      if (child === undefined || item.deadline <= child.deadline) break;
      const below = child.heapIndex;
      this.#put(child, index);
      index = below;
    }
    this.#put(item, index);
  }

  #nearerChild(index: number): Item | undefined {
    const left = this.#items[2 * index + 1];
    const right = this.#items[2 * index + 2];
    if (left === undefined || right === undefined) return left;
    return right.deadline < left.deadline ? right : left;
  }

  #put(item: Item, index: number): void {
    this.#items[index] = item;
    item.heapIndex = index;
  }
}
