/** Scenarios in turns, without any process: order, failures, what is said and saved. */

import { describe, expect, test } from "bun:test";
import type { Scenario } from "../../bench/scenarios.ts";
import { leftWords, TimeLeft } from "../../bench/time-left.ts";
import { failureLines, ownFailures, type TurnsSoFar, takeTurns } from "../../bench/turns.ts";
import { measurementOf, scenariosOf } from "./results-fixture.ts";

const WORK = "1 to 1, 64 B";

function scenario(who: string): Scenario {
  const found = scenariosOf(WORK).find(({ name }) => name === `${WORK}: ${who}`);
  if (found === undefined) throw new Error(`There is no ${who}`);
  return found;
}

const SCENARIOS = ["floor in TypeScript", "seqbus, raw", "nats, raw"].map(scenario);

/** Two repeats, of which those fail that are named as "REPEAT WHO". */
async function turnsWith(...failing: readonly string[]) {
  const saved: number[] = [];
  const said: string[] = [];
  const measured: string[] = [];
  const turns = await takeTurns({
    scenarios: SCENARIOS,
    repeats: 2,
    measure: ({ name }) => {
      measured.push(name.slice(WORK.length + 2));
      const repeat = Math.ceil(measured.length / SCENARIOS.length);
      if (failing.includes(`${repeat} ${measured.at(-1)}`)) throw new Error("messages were lost");
      return Promise.resolve(measurementOf(name, 5));
    },
    say: (text) => said.push(text),
    save: ({ repeats }: TurnsSoFar) => {
      saved.push(repeats.reduce((sum, repeat) => sum + repeat.size, 0));
      return Promise.resolve();
    },
  });
  return { turns, saved, said: said.join(""), measured };
}

describe("takeTurns()", () => {
  test("measures all of one repeat before the next, and saves after each scenario", async () => {
    const { turns, measured, saved } = await turnsWith();
    const once = ["floor in TypeScript", "seqbus, raw", "nats, raw"];
    expect(measured).toEqual([...once, ...once]);
    expect(turns.repeats.map(({ size }) => size)).toEqual([3, 3]);
    expect(saved).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("goes on after a failure of seqbus, a floor or a peer", async () => {
    const failing = ["1 seqbus, raw", "1 nats, raw", "2 floor in TypeScript"];
    const { turns, said } = await turnsWith(...failing);
    expect(turns.repeats.map((repeat) => [...repeat.keys()])).toEqual([
      [`${WORK}: floor in TypeScript`],
      [`${WORK}: seqbus, raw`, `${WORK}: nats, raw`],
    ]);
    expect(said).toContain("seqbus, raw … FAILED: messages were lost\n");
    expect(ownFailures(turns.failures).map(({ repeat, relay }) => [repeat, relay])).toEqual([
      [1, "broker"],
      [2, "floor"],
    ]);
  });

  test("says how long the rest takes as soon as it can be guessed", async () => {
    const { said } = await turnsWith();
    expect(said.split("\n").slice(0, 2)).toEqual([
      `1/2 1/3  ${WORK}: floor in TypeScript … 5 a second`,
      `1/2 2/3, less than a minute left  ${WORK}: seqbus, raw … 5 a second`,
    ]);
  });
});

describe("failureLines()", () => {
  test("names each scenario once, with its first reason", () => {
    const failure = { name: "a", relay: "broker", reason: "lost" } as const;
    const lines = failureLines([
      { ...failure, repeat: 1 },
      { ...failure, name: "b", repeat: 1 },
      { ...failure, repeat: 2, reason: "late" },
    ]);
    expect(lines).toEqual([
      "failed: a: lost (repeat 1, 2 times in all)",
      "failed: b: lost (repeat 1)",
    ]);
  });
});

describe("TimeLeft", () => {
  test("guesses what a scenario took last, and the average for one that is new", () => {
    const timeLeft = new TimeLeft();
    expect(timeLeft.guessMs(["a"])).toBeUndefined();
    timeLeft.note("a", 1_000);
    timeLeft.note("b", 3_000);
    expect(timeLeft.guessMs(["a", "b", "c"])).toBe(6_000);
    timeLeft.note("a", 2_000);
    expect(timeLeft.guessMs(["a", "c"])).toBe(4_000);
  });

  test("is told in minutes", () => {
    expect(leftWords(undefined)).toBe("");
    expect(leftWords(59_000)).toBe("less than a minute left");
    expect(leftWords(24.4 * 60_000)).toBe("about 24 min left");
  });
});
