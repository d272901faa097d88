import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { getOpenFilesLimit } from "../../../src/ffi/resource-limits.ts";
import { runFixture } from "./fixture-process.ts";

test("raiseOpenFilesLimit() raises the soft limit to the hard one, and is content the next time", async () => {
  const { output } = await runFixture("open-files-limit-fixture.ts", ["raise"]);
  const { raised, again, kernel } = output as Record<string, { soft: number; hard: number }>;
  expect(kernel?.soft).toBeGreaterThan(64);
  expect(raised).toEqual({ soft: kernel?.hard as number, hard: kernel?.hard as number });
  expect(kernel).toEqual(raised);
  expect(again).toEqual(raised);
});

test("getOpenFilesLimit() says what the kernel says of this process", () => {
  const line = /^Max open files +(\d+) +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
  expect(getOpenFilesLimit()).toEqual({ soft: Number(line?.[1]), hard: Number(line?.[2]) });
});
