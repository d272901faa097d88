import { expect, test } from "bun:test";
import { runFixture } from "./fixture-process.ts";

const WORDS = ["one", "two words", "", "drei ☃", "--last=4"];

interface Restart {
  readonly before: { readonly pid: number; readonly fdsWithout: number; readonly fds: number };
  readonly now: { readonly pid: number; readonly fds: number };
  readonly text: string;
  readonly words: readonly string[];
}

test("restartProcess() keeps the pid and the arguments, and adds to the environment", async () => {
  const { output, exitCode } = await runFixture("process-image-fixture.ts", WORDS);
  const { before, now, text, words } = output as Restart;
  expect(exitCode).toBe(0);
  expect(now.pid).toBe(before.pid);
  expect(text).toBe("zwei ☃=");
  expect(words).toEqual(WORDS);
});

test("restartProcess() leaves no fd of the first start behind", async () => {
  const { output } = await runFixture("process-image-fixture.ts");
  const { before, now } = output as Restart;
  expect(before.fds).toBe(before.fdsWithout + 1);
  expect(now.fds).toBe(before.fdsWithout);
});
