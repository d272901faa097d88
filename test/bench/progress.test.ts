/** What of a subscriber's run counts: from which moment, and which messages. */

import { describe, expect, spyOn, test } from "bun:test";
import { Progress } from "../../bench/progress.ts";
import type { RoleReport } from "../../bench/work-order.ts";

const WARM_UP_MS = 100;

/** Looks at a count at each of some moments, by a clock that stands still in between. */
function followed(looks: readonly (readonly [atMs: number, messages: number])[], endsAtMs: number) {
  let now = 0;
  const clock = spyOn(performance, "now").mockImplementation(() => now);
  const said: RoleReport["type"][] = [];
  try {
    const progress = new Progress(WARM_UP_MS, ({ type }) => said.push(type));
    let last = 0;
    for (const [atMs, messages] of looks) {
      now = atMs;
      last = messages;
      progress.note(messages);
    }
    now = endsAtMs;
    return { said, isWarm: progress.isWarm, report: progress.finish(last) };
  } finally {
    clock.mockRestore();
  }
}

describe("Progress", () => {
  test("counts what came after the warm-up, which begins with the first message", () => {
    const looks = [
      [1_000, 10],
      [1_050, 20],
      [1_100, 30],
      [1_200, 80],
    ] as const;
    const { said, isWarm, report } = followed(looks, 1_300);
    expect(said).toEqual(["streaming", "warm"]);
    expect(isWarm).toBe(true);
    expect(report).toEqual({
      type: "received",
      messages: 80,
      all: { messages: 70, ms: 300 },
      warm: { messages: 50, ms: 200 },
    });
  });

  test("leaves out what came before the first look where it ended before the warm-up", () => {
    const looks = [
      [1_000, 1],
      [1_030, 2],
      [1_060, 4],
    ] as const;
    const { said, isWarm, report } = followed(looks, 1_060);
    expect(said).toEqual(["streaming"]);
    expect(isWarm).toBe(false);
    expect(report).toEqual({ type: "received", messages: 4, all: { messages: 3, ms: 60 } });
  });

  test("has no warm part where the message that ended the warm-up was the last", () => {
    const looks = [
      [1_000, 1],
      [1_200, 2],
    ] as const;
    const { said, report } = followed(looks, 1_210);
    expect(said).toEqual(["streaming", "warm"]);
    expect(report).toEqual({ type: "received", messages: 2, all: { messages: 1, ms: 210 } });
  });

  test("counts nothing where nothing came", () => {
    const { said, report } = followed([[1_000, 0]], 1_010);
    expect(said).toEqual([]);
    expect(report.all.messages).toBe(0);
    expect(report.warm).toBeUndefined();
  });
});
