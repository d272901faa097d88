/** How full a queue is, as it is told at each change. */

import { describe, expect, test } from "bun:test";
import { type Filling, QueueFill } from "../../../src/client/queue-fill.ts";
import type { Fill } from "../../../src/client/read-gate.ts";

/** A queue that waits as it is told to: "low" is half of it, "over" is beyond the ceiling. */
class Level implements Filling {
  at: "low" | "high" | "full" | "over" = "low";
  ceilings = 0;

  get isLow(): boolean {
    return this.at === "low";
  }

  get isFull(): boolean {
    return this.at === "full" || this.at === "over";
  }

  get isOver(): boolean {
    return this.at === "over";
  }

  setCeiling(): void {
    this.ceilings += 1;
  }
}

function filling({ losesBeyond }: { losesBeyond: boolean }) {
  const level = new Level();
  const told: Fill[] = [];
  const fill = new QueueFill(level, losesBeyond, (change) => told.push(change));
  const go = (...levels: Level["at"][]) => {
    for (const at of levels) {
      level.at = at;
      fill.update();
    }
  };
  return { level, told, fill, go };
}

describe("QueueFill.update()", () => {
  test("tells each change once, and is draining until at most half waits", () => {
    const { told, fill, go } = filling({ losesBeyond: false });
    go("high", "full", "full", "over", "high", "high", "low");
    expect(told).toEqual(["full", "over", "draining", "room"]);
    expect(fill.isRoom).toBe(true);
  });

  test("sets a ceiling each time that the queue becomes full", () => {
    const { level, go } = filling({ losesBeyond: false });
    go("full", "full", "over");
    expect(level.ceilings).toBe(1);
    go("high", "full");
    expect(level.ceilings).toBe(2);
  });

  test("stays full beyond the ceiling where more is lost", () => {
    const { told, fill, go } = filling({ losesBeyond: true });
    go("full");
    expect(fill.losesMore).toBe(false);
    go("over");
    expect(fill.losesMore).toBe(true);
    expect(told).toEqual(["full"]);
  });
});

describe("QueueFill.allowMore()", () => {
  test("sets a ceiling where there is one already", () => {
    const { level, fill, go } = filling({ losesBeyond: false });
    fill.allowMore();
    expect(level.ceilings).toBe(0);
    go("full");
    fill.allowMore();
    expect(level.ceilings).toBe(2);
  });
});

describe("QueueFill.end()", () => {
  test("tells that there is room, and nothing afterwards", () => {
    const { told, fill, go } = filling({ losesBeyond: false });
    go("full");
    fill.end();
    go("over", "low");
    expect(told).toEqual(["full", "room"]);
  });
});
