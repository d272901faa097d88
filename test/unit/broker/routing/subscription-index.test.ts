import { describe, expect, spyOn, test } from "bun:test";
import fc from "fast-check";
import { SubscriptionIndex } from "../../../../src/broker/routing/subscription-index.ts";
import { topicMatches } from "../../../../src/protocol/topics.ts";

/** Few tokens, so that patterns and topics meet often. */
const token = fc.constantFrom("a", "b", "c", "$d", "__proto__", "constructor");
const topicName = fc.array(token, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("."));
const pattern = fc
  .tuple(
    fc.array(fc.oneof({ weight: 3, arbitrary: token }, fc.constant("*")), {
      minLength: 1,
      maxLength: 5,
    }),
    fc.boolean(),
  )
  .map(([parts, isRest]) => (isRest ? [...parts.slice(0, -1), ">"] : parts).join("."));

describe("SubscriptionIndex", () => {
  test("matches as topicMatches() says, whatever was added and removed", () => {
    const change = fc.record({
      isAdd: fc.boolean(),
      pattern,
      subscriber: fc.integer({ min: 1, max: 4 }),
    });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 60 }),
        fc.array(topicName, { minLength: 1, maxLength: 20 }),
        (changes, topics) => {
          const index = new SubscriptionIndex<number>();
          const held: { pattern: string; subscriber: number }[] = [];
          for (const { isAdd, pattern: changed, subscriber } of changes) {
            if (isAdd) {
              index.add(changed, subscriber);
              held.push({ pattern: changed, subscriber });
              continue;
            }
            const last = held.pop();
            if (last !== undefined) index.remove(last.pattern, last.subscriber);
          }
          expect(index.size).toBe(held.length);
          for (const topic of topics) {
            const wanted = held.filter((item) => topicMatches(item.pattern, topic));
            expect(index.match(topic)).toEqual(new Set(wanted.map((item) => item.subscriber)));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("counts a pattern that was added twice", () => {
    const index = new SubscriptionIndex<string>();
    index.add("a.*", "one");
    index.add("a.*", "one");
    index.remove("a.*", "one");
    expect([...index.match("a.b")]).toEqual(["one"]);
    index.remove("a.*", "one");
    expect([...index.match("a.b")]).toEqual([]);
  });

  test("raises its generation for wildcards alone, and for touch()", () => {
    const index = new SubscriptionIndex<string>();
    expect(index.add("a.b", "one")).toBe(false);
    expect(index.remove("a.b", "one")).toBe(false);
    expect(index.generation).toBe(0);
    expect(index.add("a.*", "one")).toBe(true);
    expect(index.add(">", "one")).toBe(true);
    expect(index.remove("a.*", "one")).toBe(true);
    expect(index.generation).toBe(3);
    index.touch();
    expect(index.generation).toBe(4);
  });

  /** Look-ups and insertions that a piece of work makes, whatever the time it takes. */
  function mapOperations(work: () => void): number {
    const spies = [
      spyOn(Map.prototype, "get"),
      spyOn(Map.prototype, "set"),
      spyOn(Map.prototype, "delete"),
      spyOn(Map.prototype, "keys"),
    ];
    try {
      work();
      return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  }

  test("costs the same among 20,000 unrelated subscriptions as among none", () => {
    const work = (index: SubscriptionIndex<string>) => () => {
      index.add("sensors.*.temperature", "one");
      index.add("sensors.kitchen.>", "two");
      expect(index.match("sensors.kitchen.temperature").size).toBe(2);
      index.remove("sensors.*.temperature", "one");
      index.remove("sensors.kitchen.>", "two");
    };
    const empty = new SubscriptionIndex<string>();
    const full = new SubscriptionIndex<string>();
    for (let number = 0; number < 10_000; number += 1) {
      full.add(`sensors.room-${number}.temperature`, `subscriber ${number}`);
      full.add(`logs.${number}.>`, `subscriber ${number}`);
    }
    full.add("sensors.x", "keeps the node");
    const alone = mapOperations(work(empty));
    // In the empty index the shared first node has to be made and removed too.
    expect(mapOperations(work(full))).toBeLessThanOrEqual(alone);
  });

  test("keeps nothing of patterns that were removed", () => {
    const match = (index: SubscriptionIndex<string>) => () => void index.match("a.b.c.d");
    const index = new SubscriptionIndex<string>();
    const fresh = mapOperations(match(index));
    for (const each of ["a.b.c.d", "*.*.*.*", "a.>", "a.b.c.>", "*.b.>"]) {
      index.add(each, "one");
      index.remove(each, "one");
    }
    expect(mapOperations(match(index))).toBe(fresh);
    expect(index.size).toBe(0);
  });
});
