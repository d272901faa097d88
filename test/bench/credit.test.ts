/** The window of the benchmark, in runs of any length. */

import { expect, test } from "bun:test";
import { underWay } from "../../bench/credit.ts";

test("underWay() counts past what one record of a credit socket can say", () => {
  expect(underWay(10, 4)).toBe(6);
  expect(underWay(2 ** 32 + 10, 2 ** 32 - 1)).toBe(11);
  expect(underWay(3 * 2 ** 32 + 10, 4)).toBe(6);
});
