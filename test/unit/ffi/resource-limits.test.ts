import { expect, test } from "bun:test";
import { runFixture } from "./fixture-process.ts";

test("raiseOpenFilesLimit() raises the soft limit to the hard one, and is content the next time", async () => {
  const { output } = await runFixture("open-files-limit-fixture.ts", ["raise"]);
  const { raised, again, kernel } = output as Record<string, { soft: number; hard: number }>;
  expect(kernel?.soft).toBeGreaterThan(64);
  expect(raised).toEqual({ soft: kernel?.hard as number, hard: kernel?.hard as number });
  expect(kernel).toEqual(raised);
  expect(again).toEqual(raised);
});
