import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DeadlineHeap } from "../../../../src/broker/retained/deadline-heap.ts";

interface Item {
  readonly deadline: number;
  heapIndex: number;
}

function item(deadline: number): Item {
  return { deadline, heapIndex: -1 };
}

describe("DeadlineHeap", () => {
  test("first() is the nearest of what was added and not removed", () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ add: fc.integer({ min: 0, max: 20 }) }),
        fc.record({ remove: fc.nat() }),
      ),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(steps, (commands) => {
        const heap = new DeadlineHeap<Item>();
        const inside: Item[] = [];
        for (const command of commands) {
          if ("add" in command) {
            const added = item(command.add);
            inside.push(added);
            heap.add(added);
          } else if (inside.length > 0) {
            const [removed] = inside.splice(command.remove % inside.length, 1);
            if (removed !== undefined) heap.remove(removed);
          }
          expect(heap.size).toBe(inside.length);
          const nearest = Math.min(...inside.map(({ deadline }) => deadline));
          expect(heap.first()?.deadline ?? Number.POSITIVE_INFINITY).toBe(nearest);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("remove() does nothing for an item that is in no heap", () => {
    const heap = new DeadlineHeap<Item>();
    heap.add(item(1));

    heap.remove(item(1));

    expect(heap.size).toBe(1);
  });
});
