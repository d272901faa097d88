import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { overflowIds } from "../../../../src/broker/identity/overflow-ids.ts";

test("overflowIds() says what the kernel says, and the same object each time", () => {
  const read = (name: string) => Number(readFileSync(`/proc/sys/kernel/${name}`, "utf8"));
  expect(overflowIds()).toEqual({ uid: read("overflowuid"), gid: read("overflowgid") });
  expect(overflowIds()).toBe(overflowIds());
});
