import { describe, expect, test } from "bun:test";
import { AskedOverflow } from "../../../../src/broker/routing/asked-overflow.ts";
import { SubscriptionIndex } from "../../../../src/broker/routing/subscription-index.ts";
import type { OverflowRule } from "../../../../src/broker/sending/overflow-rules.ts";
import type { OverflowPolicy } from "../../../../src/protocol/words.ts";

const CLIENT = "client";
const NO_POLICY: OverflowRule = { standard: "drop-newest", grantsBlock: true };

/** Undefined: a subscription without a word. */
type Word = OverflowPolicy | undefined;

/** What holds for "a.b" for a client with these subscriptions, whose patterns differ. */
function overflowOf(words: readonly Word[], rule = NO_POLICY): OverflowPolicy {
  const asked = new AskedOverflow<string>();
  const all = new SubscriptionIndex<string>();
  const patterns = ["a.b", "a.*", ">"];
  words.forEach((word, index) => {
    const pattern = patterns[index] ?? "a.>";
    all.add(pattern, CLIENT);
    if (word !== undefined) asked.add(pattern, CLIENT, word);
  });
  return asked.match("a.b", rule, all)?.get(CLIENT) ?? rule.standard;
}

describe("AskedOverflow.match() of two subscriptions", () => {
  const pairs: [stronger: Word, weaker: Word][] = [
    ["block", "disconnect"],
    ["block", "drop-newest"],
    ["block", "drop-oldest"],
    ["block", "latest-per-topic"],
    ["disconnect", "drop-newest"],
    ["disconnect", "drop-oldest"],
    ["disconnect", "latest-per-topic"],
    ["drop-newest", "drop-oldest"],
    ["drop-newest", "latest-per-topic"],
    ["drop-oldest", "latest-per-topic"],
  ];
  test.each(pairs)("takes %s before %s", (stronger, weaker) => {
    expect(overflowOf([stronger, weaker])).toBe(stronger as OverflowPolicy);
    expect(overflowOf([weaker, stronger])).toBe(stronger as OverflowPolicy);
  });
});

describe("AskedOverflow.match() of a subscription beside one without a word", () => {
  const rows: [standard: OverflowPolicy, word: OverflowPolicy, holds: OverflowPolicy][] = [
    ["drop-newest", "block", "block"],
    ["drop-newest", "disconnect", "disconnect"],
    ["drop-newest", "drop-newest", "drop-newest"],
    ["drop-newest", "drop-oldest", "drop-newest"],
    ["drop-newest", "latest-per-topic", "drop-newest"],
    ["drop-oldest", "latest-per-topic", "drop-oldest"],
    ["drop-oldest", "drop-newest", "drop-newest"],
    ["latest-per-topic", "drop-oldest", "drop-oldest"],
    ["disconnect", "latest-per-topic", "disconnect"],
    ["block", "disconnect", "block"],
  ];
  test.each(rows)("where %s is set, %s gives %s", (standard, word, holds) => {
    const rule = { standard, grantsBlock: true };
    expect(overflowOf([word, undefined], rule)).toBe(holds);
    expect(overflowOf([undefined, word], rule)).toBe(holds);
    expect(overflowOf([word, word, undefined], rule)).toBe(holds);
    expect(overflowOf([word, word], rule)).toBe(word);
  });

  test("counts each time that a pattern is subscribed to", () => {
    const asked = new AskedOverflow<string>();
    const all = new SubscriptionIndex<string>();
    all.add("a", CLIENT);
    all.add("a", CLIENT);
    asked.add("a", CLIENT, "drop-oldest");
    expect(asked.match("a", NO_POLICY, all)?.get(CLIENT)).toBe("drop-newest");
    all.remove("a", CLIENT);
    expect(asked.match("a", NO_POLICY, all)?.get(CLIENT)).toBe("drop-oldest");
  });

  test("takes block that is not granted any more for no word", () => {
    const rule: OverflowRule = { standard: "drop-newest", grantsBlock: false };
    expect(overflowOf(["block", "drop-oldest"], rule)).toBe("drop-newest");
    expect(overflowOf(["block"], rule)).toBe("drop-newest");
  });

  test("asks nothing of the subscriptions of others", () => {
    const asked = new AskedOverflow<string>();
    const all = new SubscriptionIndex<string>();
    all.add("a", CLIENT);
    all.add("a", "other");
    asked.add("a", CLIENT, "latest-per-topic");
    const found = asked.match("a", NO_POLICY, all);
    expect(found).toEqual(new Map([[CLIENT, "latest-per-topic"]]));
  });
});
