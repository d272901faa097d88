/** The last check of a rate scenario: each subscriber has all that was sent. */

import { expect, test } from "bun:test";
import { checkLoss } from "../../bench/rate-run.ts";

test("checkLoss() wants the sum of all publishers at each subscriber", () => {
  const published = [{ messages: 3 }, { messages: 4 }];
  expect(() => checkLoss(published, [{ messages: 7 }, { messages: 7 }])).not.toThrow();
  const lost = "Messages were lost: subscriber 2 got 6 of 7";
  expect(() => checkLoss(published, [{ messages: 7 }, { messages: 6 }])).toThrow(lost);
  expect(() => checkLoss(published, [{ messages: 8 }])).toThrow("subscriber 1 got 8 of 7");
});
