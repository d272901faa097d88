import { expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { excessWords } from "../../../../src/broker/quotas/excess.ts";
import { Quotas, RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import { MODEST } from "../../../../src/broker/quotas/reserve.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { SUBSCRIPTIONS_MAX, TOPICS_MAX } from "../../../../src/broker/routing/limits.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";

/** A connection of a user whose quota is no hindrance. */
function unlimited(): Connection {
  const limits = { ...QUOTA_DEFAULTS, topics: 2 ** 40, subscriptions: 2 ** 40 };
  return { quota: new Quotas(() => limits).open(7) } as Connection;
}

test("BusState.holdTopic() stops at TOPICS_MAX, says so, and charges nothing for it", () => {
  const state = new BusState(ownUidPolicy(0), () => {});
  const connection = unlimited();
  for (let count = 0; count < TOPICS_MAX; count += 1) state.holdTopic(connection, `t.${count}`);
  const excess = state.holdTopic(connection, "one.more");
  if (excess instanceof Topic) throw new Error("It was held");
  expect(excessWords(excess)).toBe(`topics: ${TOPICS_MAX} of ${TOPICS_MAX} in the whole broker`);
  expect(connection.quota.used(RESOURCE.topics)).toBe(TOPICS_MAX);
  expect(state.holdTopic(connection, "t.0")).toBeInstanceOf(Topic);
});

test("BusState.subscribe() stops short of SUBSCRIPTIONS_MAX, and goes on after one is removed", () => {
  const state = new BusState(ownUidPolicy(0), () => {});
  const connection = unlimited();
  const limit = (SUBSCRIPTIONS_MAX / 8) * 7;
  for (let count = 0; count < limit; count += 1) state.subscribe(connection, "a");
  const figures = { actual: limit, limit };
  expect(state.subscribe(connection, "a")).toEqual({ resource: "subscriptions", ...figures });
  expect(connection.quota.used(RESOURCE.subscriptions)).toBe(limit);
  state.unsubscribe(connection, "a");
  expect(connection.quota.used(RESOURCE.subscriptions)).toBe(limit - 1);
  expect(state.subscribe(connection, "a")).toBeUndefined();
  // The rest is for those who have little, to the last one.
  let modest = unlimited();
  for (let count = limit; count < SUBSCRIPTIONS_MAX; count += 1) {
    if (modest.quota.used(RESOURCE.subscriptions) === MODEST.subscriptions) modest = unlimited();
    expect(state.subscribe(modest, "a")).toBeUndefined();
  }
  const all = { actual: SUBSCRIPTIONS_MAX, limit: SUBSCRIPTIONS_MAX };
  expect(state.subscribe(unlimited(), "a")).toEqual({ resource: "subscriptions", ...all });
});
