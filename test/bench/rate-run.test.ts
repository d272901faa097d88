/** What a rate scenario makes of its reports: each subscriber has all that was sent, and which part counts. */

import { expect, test } from "bun:test";
import { checkLoss, countedPart } from "../../bench/rate-run.ts";

test("checkLoss() wants the sum of all publishers at each subscriber", () => {
  const published = [{ messages: 3 }, { messages: 4 }];
  expect(() => checkLoss(published, [{ messages: 7 }, { messages: 7 }])).not.toThrow();
  const lost = "Messages were lost: subscriber 2 got 6 of 7";
  expect(() => checkLoss(published, [{ messages: 7 }, { messages: 6 }])).toThrow(lost);
  expect(() => checkLoss(published, [{ messages: 8 }])).toThrow("subscriber 1 got 8 of 7");
});

test("countedPart() takes the same part of the run for all subscribers", () => {
  const [all, warm] = [
    { messages: 9, ms: 30 },
    { messages: 5, ms: 10 },
  ];
  const warmOne = { type: "received", messages: 10, all, warm } as const;
  const coldOne = { type: "received", messages: 10, all } as const;
  expect(countedPart([warmOne, warmOne])).toEqual({ stretches: [warm, warm], isCold: false });
  expect(countedPart([warmOne, coldOne])).toEqual({ stretches: [all, all], isCold: true });
});
