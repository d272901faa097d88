import { expect, test } from "bun:test";
import { excessOf, excessWords } from "../../../../src/broker/quotas/excess.ts";
import { Quotas, RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";

const UID = 1_000;

function quotas(): Quotas {
  return new Quotas(() => ({ ...QUOTA_DEFAULTS, topics: 8, fds: 8 }));
}

test("excessWords() says whose the limit is: a connection's, its user's, or everybody's", () => {
  const all = quotas();
  const first = all.open(UID);
  first.impose(RESOURCE.topics, 4);
  expect(excessWords(excessOf(first, "topics"))).toBe(
    `topics: 4 of 4 of one connection of uid ${UID}`,
  );
  first.impose(RESOURCE.topics, 4);
  expect(excessWords(excessOf(all.open(UID), "topics"))).toBe(`topics: 8 of 8 of uid ${UID}`);
  const whole = { resource: "topics", limit: 2, actual: 2 } as const;
  expect(excessWords(whole)).toBe("topics: 2 of 2 in the whole broker");
});

test("excessWords() says what others hold of a user whose connection has more than its share", () => {
  const all = quotas();
  const first = all.open(UID);
  first.impose(RESOURCE.topics, 3);
  all.open(UID).impose(RESOURCE.topics, 4);
  const excess = excessOf(first, "topics");
  expect(excess).toMatchObject({ actual: 3, limit: 2 });
  expect(excessWords(excess)).toBe(
    `topics: 3 of 2 of one connection of uid ${UID}, whose others hold 4 of 8`,
  );
});

test("excessOf() counts what was asked for as held, where that is more than one", () => {
  const account = quotas().open(UID);
  account.impose(RESOURCE.fds, 1);
  expect(excessOf(account, "fds", 5)).toMatchObject({ actual: 6, limit: 4 });
  account.impose(RESOURCE.fds, 7);
  expect(excessOf(account, "fds", 5)).toMatchObject({ actual: 13, limit: 8 });
});
